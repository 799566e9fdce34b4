// The sampler against one that is obviously correct: everything in double, everything sorted.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/random.h"
#include "kernels/cpu_features.h"
#include "sampling/sampler.h"

namespace sparrow {
namespace {

// One random request and row. Logits, biases and penalties are multiples of 1/8 or powers of two
// where ties matter, so that float and double agree on them.
struct Case {
  SamplingParams params;
  std::vector<float> logits;
  std::vector<TokenId> history, disallowed, banned;
  std::vector<uint32_t> mask;
  int num_prompt = 0, min_tokens = 0;
  int64_t position = 0;
};

class Dice {
 public:
  explicit Dice(uint64_t seed) : seed_(seed) {}
  uint64_t below(uint64_t bound) { return random_bits(seed_, 0, counter_++) % bound; }
  double uniform() { return random_uniform(seed_, 1, counter_++); }
  bool maybe(int one_in) { return below(static_cast<uint64_t>(one_in)) == 0; }
  template <typename T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[below(values.size())];
  }

 private:
  uint64_t seed_, counter_ = 0;
};

Case make_case(uint64_t seed) {
  Dice dice(seed);
  Case one;
  const size_t size = dice.one_of<size_t>({1, 2, 3, 40, 300, 300, 1000, 6000});
  const double spread = dice.one_of({0.0, 0.5, 3.0, 10.0});
  const bool ties = dice.maybe(2);
  for (size_t i = 0; i < size; ++i) {
    double sum = -6;
    for (int term = 0; term < 12; ++term) sum += dice.uniform();
    one.logits.push_back(
        static_cast<float>(ties ? std::round(sum * spread * 8) / 8 : sum * spread));
  }
  if (dice.maybe(5)) one.logits[dice.below(size)] += 64;
  one.params.temperature = dice.one_of({0.0, 0.01, 0.6, 1.0, 2.0});
  one.params.top_k = dice.one_of({0, 0, 1, 2, 20, 100000});
  one.params.top_p = dice.one_of({1.0, 1.0, 1e-6, 0.5, 0.95, 0.9999999});
  one.params.min_p = dice.one_of({0.0, 0.0, 1e-9, 0.05, 0.5});
  one.params.repetition_penalty = dice.one_of({1.0, 1.0, 0.5, 2.0});
  one.params.presence_penalty = dice.one_of({0.0, 0.0, -2.0, 0.5});
  one.params.frequency_penalty = dice.one_of({0.0, 0.0, 0.25, -0.5});
  one.params.seed = seed;
  one.params.choice = static_cast<int>(dice.below(3));
  one.params.num_top_logprobs = dice.one_of({-1, 0, 5, 20});
  one.position = static_cast<int64_t>(dice.below(1000));
  std::set<TokenId> biased;
  while (dice.maybe(2) && biased.size() < size)
    biased.insert(static_cast<TokenId>(dice.below(size)));
  for (const TokenId id : biased)
    one.params.logit_bias.emplace_back(id, static_cast<float>(dice.below(801)) / 4 - 100);
  for (uint64_t i = dice.below(30); i > 0; --i)
    one.history.push_back(static_cast<TokenId>(dice.below(std::min<size_t>(size, 50))));
  one.num_prompt = static_cast<int>(dice.below(one.history.size() + 1));
  if (size < 3) return one;
  while (dice.maybe(2) && one.disallowed.size() + 2 < size)
    one.disallowed.push_back(static_cast<TokenId>(dice.below(size)));
  if (dice.maybe(3)) one.banned = {0, static_cast<TokenId>(size - 1)};
  one.min_tokens = static_cast<int>(dice.below(20));
  if (dice.maybe(4)) {
    for (size_t word = 0; word * 32 < size; ++word)
      one.mask.push_back(static_cast<uint32_t>(dice.below(1ull << 32)));
  }
  return one;
}

struct Expected {
  bool nothing_allowed = false;
  TokenId id = 0;
  // Distance of the nearest decision (a bound of top_p or min_p, a neighbour of the pick) from
  // turning out differently, as a share of the mass.
  double margin = 1;
  std::map<TokenId, double> logprobs;
  std::vector<TokenId> best;  // by logit, all of them
};

Expected reference(const Case& one) {
  const SamplingParams& params = one.params;
  std::map<TokenId, double> logits;
  for (size_t i = 0; i < one.logits.size(); ++i) {
    if (one.mask.empty() || (one.mask[i / 32] >> (i % 32) & 1) != 0)
      logits[static_cast<TokenId>(i)] = static_cast<double>(one.logits[i]);
  }
  for (const TokenId id : one.disallowed) logits.erase(id);
  const int num_generated = static_cast<int>(one.history.size()) - one.num_prompt;
  if (num_generated < one.min_tokens) {
    for (const TokenId id : one.banned) logits.erase(id);
  }
  Expected expected;
  expected.nothing_allowed = logits.empty();
  if (logits.empty()) return expected;
  for (const auto& [id, bias] : params.logit_bias) {
    if (logits.contains(id)) logits[id] += static_cast<double>(bias);
  }
  for (const TokenId id : std::set<TokenId>(one.history.begin(), one.history.end())) {
    if (!logits.contains(id)) continue;
    double& x = logits[id];
    x = x > 0 ? x / params.repetition_penalty : x * params.repetition_penalty;
    const auto generated = std::count(one.history.begin() + one.num_prompt, one.history.end(), id);
    if (generated > 0)
      x -= params.frequency_penalty * static_cast<double>(generated) + params.presence_penalty;
  }
  std::vector<std::pair<double, TokenId>> sorted;
  for (const auto& [id, x] : logits) sorted.emplace_back(-x, id);
  std::sort(sorted.begin(), sorted.end());
  const double largest = -sorted[0].first;
  double mass = 0;
  for (const auto& [x, id] : sorted) mass += std::exp(-x - largest);
  for (const auto& [x, id] : sorted) {
    expected.best.push_back(id);
    expected.logprobs[id] = -x - largest - std::log(mass);
  }
  expected.id = sorted[0].second;
  if (params.temperature == 0) return expected;

  std::vector<std::pair<TokenId, double>> kept;  // best first
  for (const auto& [x, id] : sorted)
    kept.emplace_back(id, std::exp((-x - largest) / params.temperature));
  if (params.top_k > 0) kept.resize(std::min(kept.size(), static_cast<size_t>(params.top_k)));
  if (params.top_p < 1) {
    double total = 0, sum = 0;
    for (const auto& [id, weight] : kept) total += weight;
    size_t count = 0;
    while (count < kept.size() && (count == 0 || sum < params.top_p * total)) {
      sum += kept[count++].second;
      expected.margin = std::min(expected.margin, std::fabs(sum / total - params.top_p));
    }
    kept.resize(count);
  }
  std::erase_if(kept, [&](const auto& one_kept) {
    if (one_kept.second < 1)
      expected.margin = std::min(expected.margin, std::fabs(one_kept.second - params.min_p));
    return one_kept.second < params.min_p;
  });
  std::sort(kept.begin(), kept.end());
  double total = 0, sum = 0;
  for (const auto& [id, weight] : kept) total += weight;
  const double uniform = random_uniform(params.seed, static_cast<uint64_t>(params.choice),
                                        static_cast<uint64_t>(one.position));
  bool found = false;
  for (const auto& [id, weight] : kept) {
    sum += weight;
    expected.margin = std::min(expected.margin, std::fabs(sum / total - uniform));
    if (!found && sum > uniform * total) {
      expected.id = id;
      found = true;
    }
  }
  return expected;
}

// Weights are floats (relative error 2^-24 and the kernel's few ulp, 1e-6 together), so decisions
// nearer than that may fall either way. min_p compares weights of any size: it gets the same bound.
constexpr double kMargin = 2e-6;
// Logits up to 200 in float: 8e-6 for the difference, as much for the logarithm of the sum.
constexpr double kLogprobError = 3e-5;

class SamplerReference : public ::testing::TestWithParam<const Kernels*> {};

TEST_P(SamplerReference, RandomRequests_AgreeWithFullSortInDouble) {
  Sampler::Scratch scratch;
  std::vector<TokenLogprob> top;
  int num_close = 0, num_nothing = 0;
  constexpr int kNumCases = 1000;
  for (uint64_t seed = 0; seed < kNumCases; ++seed) {
    const Case one = make_case(seed);
    const Expected expected = reference(one);
    const Sampler sampler(*GetParam(), static_cast<int32_t>(one.logits.size()), one.disallowed);
    SamplerState state;
    state.start({.slot = 0,
                 .params = &one.params,
                 .tokens = one.history,
                 .num_prompt_tokens = one.num_prompt,
                 .banned_early = one.banned,
                 .min_tokens = one.min_tokens});
    std::vector<float> logits = one.logits;
    const SampledToken token =
        sampler.sample({logits, one.position, one.mask}, state, scratch, top);
    ASSERT_EQ(token.not_finite, expected.nothing_allowed) << "seed " << seed;
    num_nothing += expected.nothing_allowed ? 1 : 0;
    if (expected.nothing_allowed) continue;
    if (token.id != expected.id) {
      ASSERT_LT(expected.margin, kMargin) << "seed " << seed << ", " << one.logits.size() << " ids";
      ++num_close;
    }
    const int num_logprobs = one.params.num_top_logprobs;
    ASSERT_EQ(top.size(),
              std::min(static_cast<size_t>(std::max(0, num_logprobs)), expected.best.size()));
    if (num_logprobs < 0) continue;
    ASSERT_NEAR(token.logprob, expected.logprobs.at(token.id), kLogprobError) << "seed " << seed;
    for (size_t i = 0; i < top.size(); ++i) {
      ASSERT_EQ(top[i].id, expected.best[i]) << "seed " << seed << ", place " << i;
      ASSERT_NEAR(top[i].logprob, expected.logprobs.at(top[i].id), kLogprobError);
    }
  }
  EXPECT_LE(num_close, kNumCases / 100);
  EXPECT_LE(num_nothing, kNumCases / 20);
}

// Chi-square over the ids that top_p leaves, 20,000 draws, fixed seed. The reference says how many
// are left; the 99.9 % quantile is Wilson and Hilferty's.
TEST_P(SamplerReference, TopPAndTemperature_FollowTheDistribution) {
  Case one;
  one.params.temperature = 0.7;
  one.params.top_p = 0.9;
  one.params.seed = 3;
  Dice dice(5);
  for (int i = 0; i < 300; ++i) one.logits.push_back(static_cast<float>(4 * dice.uniform()));
  std::vector<std::pair<double, TokenId>> sorted;
  double total = 0, kept_mass = 0;
  for (size_t i = 0; i < one.logits.size(); ++i) {
    const double weight = std::exp(static_cast<double>(one.logits[i]) / 0.7);
    sorted.emplace_back(-weight, static_cast<TokenId>(i));
    total += weight;
  }
  std::sort(sorted.begin(), sorted.end());
  std::map<TokenId, double> kept;
  for (const auto& [weight, id] : sorted) {
    if (kept_mass >= 0.9 * total) break;
    kept[id] = -weight;
    kept_mass -= weight;
  }
  const Sampler sampler(*GetParam(), 300, {});
  SamplerState state;
  state.start({.slot = 0,
               .params = &one.params,
               .tokens = {},
               .num_prompt_tokens = 0,
               .banned_early = {},
               .min_tokens = 0});
  Sampler::Scratch scratch;
  std::vector<TokenLogprob> top;
  std::map<TokenId, int> counts;
  constexpr int kDraws = 20000;
  for (int64_t position = 0; position < kDraws; ++position) {
    std::vector<float> logits = one.logits;
    ++counts[sampler.sample({logits, position, {}}, state, scratch, top).id];
  }
  double chi_square = 0;
  for (const auto& [id, weight] : kept) {
    const double expected = kDraws * weight / kept_mass;
    chi_square += (counts[id] - expected) * (counts[id] - expected) / expected;
    counts.erase(id);
  }
  EXPECT_TRUE(counts.empty()) << "an id outside of top_p was sampled";
  const auto freedom = static_cast<double>(kept.size() - 1);
  const double quantile =
      freedom * std::pow(1 - 2 / (9 * freedom) + 3.09 * std::sqrt(2 / (9 * freedom)), 3);
  EXPECT_LT(chi_square, quantile);
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, SamplerReference, ::testing::ValuesIn(runnable_kernels()),
                         [](const auto& test) { return std::string(test.param->name); });

}  // namespace
}  // namespace sparrow
