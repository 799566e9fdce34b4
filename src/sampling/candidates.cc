#include "sampling/candidates.h"

#include <algorithm>

#include "base/check.h"

namespace sparrow {
namespace {

using Candidate = Sampler::Candidate;

// First guess of the weights that matter: e^-14. Anything smaller is looked at only when the
// filters reach that far down, which is then noticed and done over all ids.
constexpr float kFirstThreshold = 8.3e-7f;
constexpr size_t kSmallRange = 48;
constexpr size_t kBlock = 1024;

bool heavier(const Candidate& a, const Candidate& b) {
  return a.weight > b.weight || (a.weight == b.weight && a.id < b.id);
}

double sum_of(std::span<const float> weights) {
  double sums[8] = {};
  size_t i = 0;
  for (; i + 8 <= weights.size(); i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) sums[lane] += static_cast<double>(weights[i + lane]);
  }
  for (; i < weights.size(); ++i) sums[0] += static_cast<double>(weights[i]);
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

double sum_of(std::span<const Candidate> candidates) {
  double sum = 0;
  for (const Candidate& candidate : candidates) sum += static_cast<double>(candidate.weight);
  return sum;
}

// Writes every id and advances only past those that are kept: no branch to mispredict.
void collect_above(std::span<const float> weights, float threshold, std::vector<Candidate>& out) {
  out.resize(weights.size() + 1);
  size_t count = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    out[count] = {weights[i], static_cast<TokenId>(i)};
    count += static_cast<size_t>(weights[i] > threshold);
  }
  out.resize(count);
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
  collect_above(weights, std::max(kFirstThreshold, static_cast<float>(filters.min_p) * 0.5f), kept);
  // Enough when all that top_k or top_p could keep lies above the threshold.
  const bool enough_by_min_p = filters.min_p > static_cast<double>(kFirstThreshold);
  const bool enough_for_top_k = top_k == 0 ? uses_top_p || enough_by_min_p : kept.size() >= top_k;
  const bool enough_for_top_p = !uses_top_p || top_k != 0 ||
                                sum_of(std::span<const Candidate>(kept)) >= filters.top_p * total;
  const bool needs_all = !(enough_for_top_k && enough_for_top_p);
  if (needs_all) collect_above(weights, 0.0f, kept);
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
