#include "sampling/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"
#include "kernels/cpu_features.h"
#include "sampling/candidates.h"

namespace sparrow {
namespace {

using Candidate = Sampler::Candidate;

// A row of roughly normal logits; deterministic by seed.
std::vector<float> random_logits(size_t size, uint64_t seed, double spread) {
  std::vector<float> logits(size);
  for (size_t i = 0; i < size; ++i) {
    double sum = -6;
    for (uint64_t term = 0; term < 12; ++term) sum += random_uniform(seed, i, term);
    logits[i] = static_cast<float>(sum * spread);
  }
  return logits;
}

// The obvious way: sort everything, cut, add up.
TokenId reference_pick(std::span<const float> weights, const Filters& filters, double uniform) {
  std::vector<Candidate> all;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0) all.push_back({weights[i], static_cast<TokenId>(i)});
  }
  std::stable_sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.weight > b.weight; });
  if (filters.top_k > 0) all.resize(std::min(all.size(), static_cast<size_t>(filters.top_k)));
  if (filters.top_p < 1.0) {
    double total = 0, sum = 0;
    for (const Candidate& one : all) total += one.weight;
    size_t count = 0;
    while (count < all.size() && (count == 0 || sum < filters.top_p * total))
      sum += all[count++].weight;
    all.resize(count);
  }
  std::erase_if(all, [&](const Candidate& one) { return one.weight < filters.min_p; });
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.id < b.id; });
  double total = 0, sum = 0;
  for (const Candidate& one : all) total += one.weight;
  for (const Candidate& one : all) {
    sum += one.weight;
    if (sum > uniform * total) return one.id;
  }
  return all.back().id;
}

std::vector<float> weights_of(std::vector<float> logits, float temperature) {
  const float maximum = *std::max_element(logits.begin(), logits.end());
  for (float& x : logits) x = (x - maximum) / temperature;
  scalar_kernels().exp_sum(logits.data(), static_cast<int64_t>(logits.size()), 0.0f);
  return logits;
}

TEST(Candidates, EveryFilter_AgreesWithFullSort) {
  int compared = 0;
  for (const size_t size : {1u, 2u, 7u, 100u, 5000u}) {
    for (const double spread : {0.0, 0.3, 3.0, 30.0}) {
      const auto weights = weights_of(random_logits(size, size, spread), 0.7f);
      for (const int top_k : {0, 1, 2, 50, 100000}) {
        for (const double top_p : {1e-6, 0.3, 0.95, 0.999999, 1.0}) {
          for (const double min_p : {0.0, 1e-9, 0.05, 1.0}) {
            const Filters filters{top_k, top_p, min_p};
            std::vector<Candidate> kept;
            for (uint64_t draw = 0; draw < 4; ++draw) {
              const double uniform = random_uniform(1, size, draw);
              keep_candidates(weights, filters, kept);
              ASSERT_EQ(pick_in_id_order(kept, uniform), reference_pick(weights, filters, uniform))
                  << size << " ids, spread " << spread << ", top_k " << top_k << ", top_p " << top_p
                  << ", min_p " << min_p;
              ++compared;
            }
          }
        }
      }
    }
  }
  EXPECT_EQ(compared, 5 * 4 * 5 * 5 * 4 * 4);
}

TEST(Candidates, PickFromAll_AgreesWithFullSort) {
  for (const size_t size : {1u, 1023u, 1024u, 1025u, 9000u}) {
    const auto weights = weights_of(random_logits(size, 9, 2.0), 1.0f);
    for (uint64_t draw = 0; draw < 50; ++draw) {
      const double uniform = random_uniform(2, size, draw);
      ASSERT_EQ(pick_from_all(weights, uniform), reference_pick(weights, {}, uniform));
    }
    EXPECT_LT(static_cast<size_t>(pick_from_all(weights, 0x1.fffffffffffffp-1)), size);
  }
}

TEST(Candidates, ZeroWeights_AreNeverPicked) {
  std::vector<float> weights(3000, 0.0f);
  weights[1500] = 1.0f;
  for (const double uniform : {0.0, 0.5, 0x1.fffffffffffffp-1}) {
    EXPECT_EQ(pick_from_all(weights, uniform), 1500);
    std::vector<Candidate> kept;
    keep_candidates(weights, {10, 0.9, 0.0}, kept);
    EXPECT_EQ(pick_in_id_order(kept, uniform), 1500);
  }
}

class SamplerTest : public ::testing::Test {
 protected:
  static constexpr int32_t kVocab = 200;

  TokenId sample(std::vector<float> logits, int64_t position = 0,
                 std::span<const uint32_t> mask = {}) {
    const Sampler sampler(scalar_kernels(), static_cast<int32_t>(logits.size()), disallowed_);
    state_.start({.slot = 0,
                  .params = &params_,
                  .tokens = history_,
                  .num_prompt_tokens = num_prompt_,
                  .banned_early = banned_,
                  .min_tokens = min_tokens_});
    result_ = sampler.sample({logits, position, mask}, state_, scratch_, top_);
    return result_.id;
  }

  SamplingParams params_;
  std::vector<TokenId> history_, banned_, disallowed_;
  int num_prompt_ = 0, min_tokens_ = 0;
  SamplerState state_;
  Sampler::Scratch scratch_;
  std::vector<TokenLogprob> top_;
  SampledToken result_;
};

TEST_F(SamplerTest, Greedy_TakesLowestIdAmongEqualMaxima) {
  params_.temperature = 0;
  std::vector<float> logits(kVocab, -1.0f);
  logits[70] = logits[30] = 5.0f;
  EXPECT_EQ(sample(logits), 30);
}

TEST_F(SamplerTest, SameSeedAndPosition_SameToken_OthersDiffer) {
  params_.seed = 42;
  const auto logits = random_logits(kVocab, 1, 0.5);
  std::vector<TokenId> first, again, other_choice;
  for (int64_t position = 0; position < 30; ++position) first.push_back(sample(logits, position));
  for (int64_t position = 0; position < 30; ++position) again.push_back(sample(logits, position));
  params_.choice = 1;
  for (int64_t position = 0; position < 30; ++position)
    other_choice.push_back(sample(logits, position));
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other_choice);
}

// Chi-square over 20,000 draws with a fixed seed: 199 degrees of freedom, 99.9 % quantile 266.
TEST_F(SamplerTest, PlainTemperature_FollowsTheDistribution) {
  params_.temperature = 0.8;
  params_.seed = 7;
  const auto logits = random_logits(kVocab, 3, 0.8);
  std::vector<double> probability(kVocab);
  for (int i = 0; i < kVocab; ++i) probability[i] = std::exp(logits[i] / 0.8);
  const double total = std::accumulate(probability.begin(), probability.end(), 0.0);
  std::vector<int> counts(kVocab);
  constexpr int kDraws = 20000;
  for (int64_t position = 0; position < kDraws; ++position) ++counts[sample(logits, position)];
  double chi_square = 0;
  for (int i = 0; i < kVocab; ++i) {
    const double expected = kDraws * probability[i] / total;
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 266);
}

TEST_F(SamplerTest, IdsWithoutToken_AreNeverSampled) {
  disallowed_ = {5, 199};
  std::vector<float> logits(kVocab, 0.0f);
  logits[5] = logits[199] = 50.0f;
  for (const double temperature : {0.0, 1.0}) {
    params_.temperature = temperature;
    for (int64_t position = 0; position < 200; ++position) {
      const TokenId id = sample(logits, position);
      ASSERT_NE(id, 5);
      ASSERT_NE(id, 199);
    }
  }
}

TEST_F(SamplerTest, Mask_AllowsOnlyItsIds) {
  std::vector<uint32_t> mask(7, 0);
  mask[100 / 32] |= 1u << (100 % 32);
  for (int64_t position = 0; position < 20; ++position) {
    EXPECT_EQ(sample(random_logits(kVocab, 4, 2.0), position, mask), 100);
  }
  const std::vector<uint32_t> nothing(7, 0);
  sample(random_logits(kVocab, 4, 2.0), 0, nothing);
  EXPECT_TRUE(result_.not_finite) << "a mask without any id is reported, not invented around";
}

TEST_F(SamplerTest, MinTokens_BansUntilReached) {
  params_.temperature = 0;
  banned_ = {9};
  min_tokens_ = 2;
  std::vector<float> logits(kVocab, 0.0f);
  logits[9] = 5.0f;
  logits[8] = 4.0f;
  history_ = {1, 2, 3};
  num_prompt_ = 2;  // one token generated so far
  EXPECT_EQ(sample(logits), 8);
  history_.push_back(4);
  EXPECT_EQ(sample(logits), 9);
}

TEST_F(SamplerTest, Penalties_FollowPromptAndOutput) {
  params_.temperature = 0;
  params_.num_top_logprobs = 4;
  std::vector<float> logits(kVocab, -50.0f);
  logits[1] = 2.0f;   // in the prompt only
  logits[2] = 2.0f;   // generated twice
  logits[3] = 1.9f;   // never seen
  logits[4] = -1.0f;  // in the prompt, negative
  history_ = {1, 4, 2, 2};
  num_prompt_ = 2;
  params_.presence_penalty = 0.5;
  params_.frequency_penalty = 0.25;
  EXPECT_EQ(sample(logits), 1) << "presence and frequency look at the output only";
  params_.repetition_penalty = 2.0;
  EXPECT_EQ(sample(logits), 3);
  // 3: 1.9, 1: 2/2 = 1, 2: 2/2 - 2 * 0.25 - 0.5 = 0, 4: -1 * 2 = -2
  ASSERT_EQ(top_.size(), 4u);
  const std::vector<TokenId> order = {top_[0].id, top_[1].id, top_[2].id, top_[3].id};
  EXPECT_EQ(order, (std::vector<TokenId>{3, 1, 2, 4}));
  EXPECT_NEAR(top_[0].logprob - top_[2].logprob, 1.9, 1e-5);
  EXPECT_NEAR(top_[0].logprob - top_[3].logprob, 3.9, 1e-5);
}

TEST_F(SamplerTest, Logprobs_AreNormalisedBeforeTemperature) {
  params_.temperature = 0.1;
  params_.num_top_logprobs = 20;
  params_.logit_bias = {{7, 100.0f}};
  const auto logits = random_logits(20, 5, 1.0);
  EXPECT_EQ(sample(logits), 7);
  double sum = 0;
  for (const TokenLogprob& entry : top_) sum += std::exp(entry.logprob);
  EXPECT_NEAR(sum, 1.0, 1e-5);
  EXPECT_EQ(top_[0].id, 7);
  EXPECT_FLOAT_EQ(result_.logprob, top_[0].logprob);
}

TEST_F(SamplerTest, TinyTemperature_StillTellsCloseLogitsApart) {
  std::vector<float> logits(kVocab, 0.0f);
  logits[50] = 1e-4f;
  for (const double temperature : {1e-5, 1e-30, 1e-300}) {
    params_.temperature = temperature;
    for (int64_t position = 0; position < 20; ++position) EXPECT_EQ(sample(logits, position), 50);
  }
}

TEST_F(SamplerTest, HugeLogits_StayFiniteUnderPenalties) {
  history_ = {3, 4, 4};
  num_prompt_ = 1;
  params_.repetition_penalty = 0.01;
  params_.frequency_penalty = -2;
  params_.top_p = 0.9;
  params_.num_top_logprobs = 3;
  std::vector<float> logits(kVocab, -3e38f);
  logits[3] = 3e38f;  // becomes more than a float can hold
  for (int64_t position = 0; position < 20; ++position) EXPECT_EQ(sample(logits, position), 3);
  EXPECT_FALSE(result_.not_finite);
  EXPECT_FLOAT_EQ(result_.logprob, 0.0f);
  logits[3] = -3e38f;
  params_.repetition_penalty = 10;  // downwards: as good as forbidden
  for (int64_t position = 0; position < 20; ++position) EXPECT_NE(sample(logits, position), 3);
}

TEST_F(SamplerTest, NotFiniteRow_IsFlagged) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits(kVocab, 0.0f);
    logits[kVocab - 1] = bad;
    sample(logits);
    EXPECT_TRUE(result_.not_finite);
  }
  sample(std::vector<float>(kVocab, 3e38f));
  EXPECT_FALSE(result_.not_finite) << "large is not infinite";
}

}  // namespace
}  // namespace sparrow
