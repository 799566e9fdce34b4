// The oracle against PyTorch: every other forward pass is compared with the oracle.
#include "model/reference_forward.h"

#include <gtest/gtest.h>

#include <numeric>

#include "model/golden_file.h"

namespace sparrow {
namespace {

class ReferenceForward : public testing::TestWithParam<std::string> {};

// What transformers keeps in float32 even in a float64 model (norms, cos, sin) bounds the
// agreement: some 1e-7 per operation; 1e-5 is the project's requirement.
TEST_P(ReferenceForward, GoldenModel_LogitsAgreeWithTransformers) {
  const Result<GoldenFile> golden = read_golden_file(GetParam());
  ASSERT_TRUE(golden.ok()) << golden.message();
  for (const GoldenCase& one : golden->cases) {
    const GeneratedWeights weights(golden->config, golden->seed, one.weights);
    const Result<ReferenceModel> model = load_reference_model(weights);
    ASSERT_TRUE(model.ok()) << model.message();
    const std::vector<TokenId> tokens = weights.token_ids(one.num_tokens);
    ASSERT_EQ(std::accumulate(tokens.begin(), tokens.end(), int64_t{0}), one.token_sum);
    const std::vector<float> logits = reference_forward(*model, tokens, one.rows);
    EXPECT_LT(relative_l2(logits, one.logits), 1e-5)
        << tensor_type_info(one.weights).name << ", " << one.num_tokens << " tokens";
    EXPECT_EQ(num_wrong_argmax(logits, one.logits, golden->config.vocab_size), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, ReferenceForward, testing::ValuesIn(golden_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace sparrow
