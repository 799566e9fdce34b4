#include "sampling/candidates.h"

#include <algorithm>

#include "base/check.h"
#include "sampling/row_scan.h"

namespace sparrow {
namespace {

using Candidate = Sampler::Candidate;

// Guesses of the weights that matter (e^-7, e^-10, e^-14, e^-30, e^-60), the last one being all
// above zero. The next one is tried only when the filters reach below, which is noticed; a guess in
// vain costs some 15 us of a row of 151,936.
constexpr float kThresholds[] = {9.1e-4f, 4.5e-5f, 8.3e-7f, 9.4e-14f, 8.8e-27f, 0.0f};
constexpr size_t kSmallRange = 48;
constexpr size_t kBlock = 1024;

bool heavier(const Candidate& a, const Candidate& b) {
  return a.weight > b.weight || (a.weight == b.weight && a.id < b.id);
}

double sum_of(std::span<const Candidate> candidates) {
  double sum = 0;
  for (const Candidate& candidate : candidates) sum += static_cast<double>(candidate.weight);
  return sum;
}

// Appends in id order. Blocks without a weight above the threshold are passed over; in the others
// every id is written and the end advances only past those kept: no branch to mispredict.
void collect_above(std::span<const float> weights, float threshold, std::vector<Candidate>& out) {
  constexpr size_t kCompressed = 32;
  out.clear();
  Candidate kept[kCompressed];
  for (size_t begin = 0; begin < weights.size(); begin += kCompressed) {
    const size_t size = std::min(kCompressed, weights.size() - begin);
    const float* block = weights.data() + begin;
    uint32_t num_above = 0;
    for (size_t i = 0; i < size; ++i) num_above += block[i] > threshold ? 1 : 0;
    if (num_above == 0) continue;
    size_t count = 0;
    for (size_t i = 0; i < size; ++i) {
      kept[count] = {block[i], static_cast<TokenId>(begin + i)};
      count += block[i] > threshold ? 1 : 0;
    }
    out.insert(out.end(), kept, kept + count);
  }
}

// Keeps the fewest heaviest candidates whose sum reaches `mass`: quickselect on the sum.
void keep_mass(std::vector<Candidate>& candidates, double mass) {
  size_t begin = 0;
  size_t end = candidates.size();
  double before = 0;  // sum of [0, begin), all heavier than the rest
  while (end - begin > kSmallRange) {
    const size_t middle = begin + (end - begin) / 2;
    const auto first = candidates.begin();
    std::nth_element(first + static_cast<ptrdiff_t>(begin), first + static_cast<ptrdiff_t>(middle),
                     first + static_cast<ptrdiff_t>(end), heavier);
    const double upper = sum_of(std::span(candidates).subspan(begin, middle - begin));
    if (before + upper >= mass) {
      end = middle;
    } else {
      before += upper;
      begin = middle;
    }
  }
  std::sort(candidates.begin() + static_cast<ptrdiff_t>(begin),
            candidates.begin() + static_cast<ptrdiff_t>(end), heavier);
  size_t count = begin;
  while (count < end && (before < mass || count == 0)) {
    before += static_cast<double>(candidates[count++].weight);
  }
  candidates.resize(std::max<size_t>(count, 1));
}

}  // namespace

void keep_candidates(std::span<const float> weights, const Filters& filters,
                     std::vector<Candidate>& kept) {
  const auto top_k = static_cast<size_t>(filters.top_k);
  const bool uses_top_p = filters.top_p < 1.0;
  const double total = uses_top_p && top_k == 0 ? sum_of(weights) : 0;
  // Does what lies above the threshold hold all that the filters can keep, and all that they need
  // to decide it?
  const auto is_enough = [&](double threshold) {
    const bool below_min_p = filters.min_p > threshold;
    if (!uses_top_p) return below_min_p || (top_k != 0 && kept.size() >= top_k);
    if (top_k != 0) return kept.size() >= top_k;
    return sum_of(std::span<const Candidate>(kept)) >= filters.top_p * total;
  };
  for (const float threshold : kThresholds) {
    collect_above(weights, threshold, kept);
    if (is_enough(static_cast<double>(threshold))) break;
  }
  CHECK(!kept.empty());

  if (top_k != 0 && kept.size() > top_k) {
    const auto last = kept.begin() + static_cast<ptrdiff_t>(top_k);
    std::nth_element(kept.begin(), last, kept.end(), heavier);
    kept.resize(top_k);
  }
  if (uses_top_p) {
    const double mass = top_k == 0 ? total : sum_of(std::span<const Candidate>(kept));
    keep_mass(kept, filters.top_p * mass);
  }
  if (filters.min_p > 0) {
    std::erase_if(kept, [&](const Candidate& candidate) {
      return static_cast<double>(candidate.weight) < filters.min_p;
    });
  }
  CHECK(!kept.empty());  // the heaviest has weight 1 and passes every filter
}

TokenId pick_in_id_order(std::vector<Candidate>& kept, double uniform) {
  std::sort(kept.begin(), kept.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  const double target = uniform * sum_of(std::span<const Candidate>(kept));
  double sum = 0;
  for (const Candidate& candidate : kept) {
    sum += static_cast<double>(candidate.weight);
    if (sum > target) return candidate.id;
  }
  return kept.back().id;  // rounding at the very end
}

TokenId pick_from_all(std::span<const float> weights, double uniform) {
  double total = 0;
  for (size_t begin = 0; begin < weights.size(); begin += kBlock) {
    total += sum_of(weights.subspan(begin, std::min(kBlock, weights.size() - begin)));
  }
  const double target = uniform * total;
  double sum = 0;
  size_t last_possible = 0;
  for (size_t begin = 0; begin < weights.size(); begin += kBlock) {
    const auto block = weights.subspan(begin, std::min(kBlock, weights.size() - begin));
    const double block_sum = sum_of(block);
    if (sum + block_sum <= target) {
      sum += block_sum;
      if (block_sum > 0) last_possible = begin;
      continue;
    }
    for (size_t i = 0; i < block.size(); ++i) {
      sum += static_cast<double>(block[i]);
      if (block[i] > 0 && sum > target) return static_cast<TokenId>(begin + i);
    }
    last_possible = begin;
    break;
  }
  // Rounding at the very end: the last id with a weight.
  for (size_t i = std::min(last_possible + kBlock, weights.size()); i-- > 0;) {
    if (weights[i] > 0) return static_cast<TokenId>(i);
  }
  CHECK(false && "no weight above zero");
  return 0;
}

}  // namespace sparrow
