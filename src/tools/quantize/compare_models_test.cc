#include "tools/quantize/compare_models.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "base/file.h"
#include "base/random.h"
#include "model/model_files.h"
#include "model/reference_forward.h"
#include "tests/support/stories260k.h"
#include "tests/support/test_data.h"
#include "tools/quantize/quantize_model.h"
#include "tools/synth/synth_model.h"

namespace sparrow {
namespace {

ScoringOptions with_window(int window, int threads = 2) {
  ScoringOptions options;
  options.window_tokens = window;
  options.num_threads = threads;
  return options;
}

std::vector<TokenId> random_tokens(int count, int vocab) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back(static_cast<TokenId>(random_bits(1, 2, static_cast<uint64_t>(i)) %
                                          static_cast<uint64_t>(vocab)));
  }
  return tokens;
}

class CompareModelsTest : public testing::Test {
 protected:
  std::string tiny(const std::string& name, TensorType type, uint64_t seed = 5) {
    SynthOptions options;
    options.type = type;
    options.seed = seed;
    options.out_path = temporary_.path(name);
    options.num_threads = 1;
    const Status status = synth_model(options, nullptr);
    EXPECT_TRUE(status.ok()) << status.message();
    return options.out_path;
  }

  static Result<ModelComparison> compare(const std::string& a, const std::string& b,
                                         const std::vector<TokenId>& tokens, TokenId bos,
                                         const ScoringOptions& options) {
    ASSIGN_OR_RETURN(const auto reference, ScoringModel::open(a, options));
    ASSIGN_OR_RETURN(const auto candidate, ScoringModel::open(b, options));
    return compare_models(*reference, *candidate, tokens, bos, options, nullptr);
  }

  TemporaryDirectory temporary_;
};

TEST_F(CompareModelsTest, AModelWithItself_DiffersInNothing) {
  const std::string model = tiny("m", TensorType::kBF16);
  const auto result = compare(model, model, random_tokens(200, 256), 257, with_window(64));
  ASSERT_TRUE(result.ok()) << result.message();
  EXPECT_EQ(result->num_tokens, 200);
  EXPECT_EQ(result->num_scored_tokens, 200);  // bos stands in front of every window
  EXPECT_EQ(result->num_windows, 4);          // of 63, 63, 63 and 11
  EXPECT_EQ(result->mean_kl, 0);
  EXPECT_EQ(result->largest_kl, 0);
  EXPECT_EQ(result->top1_agreement, 1);
  EXPECT_EQ(result->reference.mean_nll, result->candidate.mean_nll);
  // Random weights know nothing: about the vocabulary of 320.
  EXPECT_NEAR(result->reference.perplexity(), 320, 40);
}

// The plain forward pass in fp32 and sums in this test, once more, independently.
TEST_F(CompareModelsTest, Scores_AreThoseOfTheReferenceForwardPass) {
  const std::string a = tiny("a.gguf", TensorType::kF32, 5);
  const std::string b = tiny("b.gguf", TensorType::kF32, 6);
  const std::vector<TokenId> tokens = random_tokens(50, 256);
  const auto result = compare(a, b, tokens, -1, with_window(40));
  ASSERT_TRUE(result.ok()) << result.message();
  EXPECT_EQ(result->num_tokens, 50);
  EXPECT_EQ(result->num_scored_tokens, 48);  // the first of each of two windows is not
  const ReferenceModel model_a = load_reference_model(*open_model(a)->weights).value();
  const ReferenceModel model_b = load_reference_model(*open_model(b)->weights).value();
  double nll_a = 0, nll_b = 0, kl = 0;
  int same = 0;
  for (const auto& [begin, end] : {std::pair{0, 40}, std::pair{40, 50}}) {
    const std::vector<TokenId> window(tokens.begin() + begin, tokens.begin() + end);
    std::vector<int32_t> rows(window.size());
    std::iota(rows.begin(), rows.end(), 0);
    const auto logits_a = reference_forward(model_a, window, rows);
    const auto logits_b = reference_forward(model_b, window, rows);
    for (size_t i = 0; i + 1 < window.size(); ++i) {
      const size_t vocab = 320;
      const float* p = logits_a.data() + i * vocab;
      const float* q = logits_b.data() + i * vocab;
      double sum_p = 0, sum_q = 0;
      for (size_t id = 0; id < vocab; ++id) {
        sum_p += std::exp(double{p[id]});
        sum_q += std::exp(double{q[id]});
      }
      const auto next = static_cast<size_t>(window[i + 1]);
      nll_a -= std::log(std::exp(double{p[next]}) / sum_p);
      nll_b -= std::log(std::exp(double{q[next]}) / sum_q);
      for (size_t id = 0; id < vocab; ++id) {
        const double share = std::exp(double{p[id]}) / sum_p;
        kl += share * std::log(share / (std::exp(double{q[id]}) / sum_q));
      }
      same += std::max_element(p, p + vocab) - p == std::max_element(q, q + vocab) - q ? 1 : 0;
    }
  }
  // The executor's K and V are bf16 (2^-9 of their size) and logits are about 0.1 here.
  EXPECT_NEAR(result->reference.mean_nll, nll_a / 48, 1e-4);
  EXPECT_NEAR(result->candidate.mean_nll, nll_b / 48, 1e-4);
  EXPECT_NEAR(result->mean_kl, kl / 48, 1e-4);
  EXPECT_NEAR(result->top1_agreement, same / 48.0, 1e-9);
  EXPECT_GT(result->mean_kl, 0);
  EXPECT_GE(result->largest_kl, result->kl_p99);
}

TEST_F(CompareModelsTest, FewerBits_LargerDivergence_ForAnyNumberOfThreads) {
  const std::string source = tiny("m", TensorType::kBF16);
  const Result<ModelFiles> files = open_model(source);
  ASSERT_TRUE(files.ok());
  std::vector<double> divergence;
  for (const QuantMix mix : {QuantMix::kQ8_0, QuantMix::kQ4_0}) {
    QuantizeOptions options;
    options.mix = mix;
    options.out_path = temporary_.path(std::string(quant_mix_name(mix)) + ".gguf");
    ASSERT_TRUE(quantize_model(*files, options, nullptr).ok());
    const auto tokens = random_tokens(120, 256);
    const auto two = compare(source, options.out_path, tokens, 257, with_window(50, 2));
    const auto one = compare(source, options.out_path, tokens, 257, with_window(50, 1));
    ASSERT_TRUE(two.ok()) << two.message();
    ASSERT_TRUE(one.ok()) << one.message();
    EXPECT_EQ(one->mean_kl, two->mean_kl);
    EXPECT_EQ(one->candidate.mean_nll, two->candidate.mean_nll);
    divergence.push_back(two->mean_kl);
  }
  EXPECT_GT(divergence[0], 0);
  EXPECT_GT(divergence[1], 5 * divergence[0]);
}

// What serve's --output-tensor-type costs can be measured.
TEST_F(CompareModelsTest, HeadGivenAnotherTypeInMemory_IsWhatIsCompared) {
  const std::string model = tiny("m", TensorType::kBF16);
  const ScoringOptions options = with_window(64);
  const auto reference = ScoringModel::open(model, options);
  ASSERT_TRUE(reference.ok()) << reference.message();
  std::vector<TokenId> tokens(128);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<TokenId>(i * 7 % 200);
  double least_kl = 0;
  for (const WeightFormat head : {WeightFormat::kQ8_0, WeightFormat::kQ4_0}) {
    ScoringOptions as_served = options;
    as_served.formats.head = head;
    const auto candidate = ScoringModel::open(model, as_served);
    ASSERT_TRUE(candidate.ok()) << candidate.message();
    const auto result = compare_models(**reference, **candidate, tokens, -1, options, nullptr);
    ASSERT_TRUE(result.ok()) << result.message();
    EXPECT_GT(result->mean_kl, least_kl);
    least_kl = 5 * result->mean_kl;  // 4 bits lose far more than 8
  }
}

TEST_F(CompareModelsTest, Stories260k_KnowsItsOwnStory) {
  const std::string data = test_data_path("tinyllamas-stories260k");
  if (!std::filesystem::exists(data)) GTEST_SKIP() << data << " is missing";
  const std::string f32 = temporary_.path("f32"), q8 = temporary_.path("q8.gguf");
  ASSERT_TRUE(convert_stories260k(data, f32, TensorType::kF32).ok());
  ASSERT_TRUE(convert_stories260k(data, q8, TensorType::kQ8_0).ok());
  const auto reference = ScoringModel::open(f32, with_window(256));
  ASSERT_TRUE(reference.ok()) << reference.message();
  const auto candidate = ScoringModel::open(q8, with_window(256));
  ASSERT_TRUE(candidate.ok()) << candidate.message();
  int64_t total = 0;
  const auto tokens =
      read_text_tokens(data + "/expected_greedy.txt", *(*reference)->tokenizer(), 0, &total);
  ASSERT_TRUE(tokens.ok()) << tokens.message();
  EXPECT_EQ(total, static_cast<int64_t>(tokens->size()));
  const auto result =
      compare_models(**reference, **candidate, *tokens, 1, with_window(256), nullptr);
  ASSERT_TRUE(result.ok()) << result.message();
  // Its own greedy text: every token was the likeliest one, so the perplexity is small.
  EXPECT_LT(result->reference.perplexity(), 3.0);
  EXPECT_GT(result->top1_agreement, 0.9);
  EXPECT_LT(result->mean_kl, 0.02);
}

TEST_F(CompareModelsTest, WhatCannotBeCompared_IsRefused) {
  const std::string model = tiny("m", TensorType::kBF16);
  EXPECT_NE(compare(model, model, {5}, -1, with_window(64)).message().find("two tokens"),
            std::string::npos);
  EXPECT_NE(compare(model, model, {5, 100000}, -1, with_window(64)).message().find("100000"),
            std::string::npos);
  EXPECT_NE(ScoringModel::open(model, with_window(1)).message().find("window"), std::string::npos);
  EXPECT_NE(ScoringModel::open(model, with_window(1 << 20)).message().find("window"),
            std::string::npos);
  EXPECT_FALSE(ScoringModel::open(temporary_.path("nothing"), with_window(64)).ok());
  std::atomic<bool> cancelled{true};
  ScoringOptions options = with_window(64);
  options.cancelled = &cancelled;
  EXPECT_EQ(compare(model, model, random_tokens(9, 256), -1, options).status().code(),
            StatusCode::kCancelled);
  const auto opened = ScoringModel::open(model, with_window(64));
  ASSERT_TRUE(opened.ok());
  ASSERT_TRUE(write_file_atomically(temporary_.path("empty.txt"), "").ok());
  EXPECT_NE(read_text_tokens(temporary_.path("empty.txt"), *(*opened)->tokenizer(), 0, nullptr)
                .message()
                .find("empty.txt"),
            std::string::npos);
}

}  // namespace
}  // namespace sparrow
