#include "kernels/cuda/linear/linear_test_support.h"

namespace sparrow {
namespace {

class Embed : public LinearTest {};

// Values are those of the stored row, bit for bit; a pending token is the last of its slot.
TEST_P(Embed, TokensAndPendingTokens_GiveTheirRows) {
  for (const WeightCase& weights : weight_cases()) {
    constexpr int32_t kCols = 320, kVocab = 11;
    const PackedWeights packed = pack(weights, kVocab, kCols, 4);
    const DeviceWeights on_device = to_device(packed);
    const std::vector<int32_t> tokens = {3, -1, 10, 0, -1}, slots = {0, 2, 1, 1, 0};
    const std::vector<int32_t> last_tokens = {7, 1, 9};
    const std::vector<int32_t> expected_tokens = {3, 9, 10, 0, 7};
    const GpuBuffer tokens_gpu = upload(tokens), slots_gpu = upload(slots);
    const GpuBuffer last_gpu = upload(last_tokens);
    const GpuBuffer out = make<float>(tokens.size() * kCols);
    EmbedArgs args;
    args.embedding = on_device.matrix;
    args.token_ids = tokens_gpu.as<int32_t>();
    args.slots = slots_gpu.as<int32_t>();
    args.last_tokens = last_gpu.as<int32_t>();
    args.out = out.as<float>();
    args.num_rows = static_cast<int32_t>(tokens.size());
    kernels().embed(stream(), args);
    const std::vector<float> found = download<float>(out, tokens.size() * kCols);
    std::vector<float> expected(kCols);
    for (size_t t = 0; t < tokens.size(); ++t) {
      unpack_gpu_row(packed.host_matrix(), expected_tokens[t], expected.data());
      EXPECT_EQ(std::memcmp(found.data() + t * kCols, expected.data(), kCols * sizeof(float)), 0)
          << weights.name << ", row " << t;
    }
  }
}

SPARROW_ON_EVERY_GPU(Embed);

}  // namespace
}  // namespace sparrow
