#pragma once
// Choosing among weighted ids without sorting the vocabulary: which ids top_k, top_p and min_p
// keep, and which of them a uniform number picks. Weights are exp(scaled logit - maximum): the
// largest is 1, forbidden ids are 0. Pure functions; results are exact and do not depend on how
// the selection runs: ids are ordered by weight, then by id.

#include <span>
#include <vector>

#include "core/ids.h"
#include "sampling/sampler.h"

namespace sparrow {

struct Filters {
  int top_k = 0;       // 0: off
  double top_p = 1.0;  // of the mass that top_k left
  double min_p = 0.0;  // of the largest weight
};

// Fills `kept` with the ids that pass, in no particular order. At least one id is kept.
void keep_candidates(std::span<const float> weights, const Filters& filters,
                     std::vector<Sampler::Candidate>& kept);

// The id at which the running sum in id order passes uniform * total. `kept` is reordered.
TokenId pick_in_id_order(std::vector<Sampler::Candidate>& kept, double uniform);
// The same over all weights: sums of blocks first, then inside one block.
TokenId pick_from_all(std::span<const float> weights, double uniform);

}  // namespace sparrow
