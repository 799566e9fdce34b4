#include "kernels/cuda/linear/linear_test_support.h"

namespace sparrow {
namespace {

class Embed : public LinearTest {
 protected:
  std::vector<float> run(const TestMatrix& matrix, const std::vector<int32_t>& token_ids,
                         const std::vector<int32_t>& slots,
                         const std::vector<int32_t>& last_tokens) {
    const GpuBuffer ids = upload(token_ids), slots_gpu = upload(slots), last = upload(last_tokens);
    const size_t count = token_ids.size() * static_cast<size_t>(matrix.matrix.cols);
    const GpuBuffer out = make<float>(count);
    EmbedArgs args;
    args.embedding = matrix.matrix;
    args.token_ids = ids.as<int32_t>();
    args.slots = slots_gpu.as<int32_t>();
    args.last_tokens = last.as<int32_t>();
    args.out = out.as<float>();
    args.num_rows = static_cast<int32_t>(token_ids.size());
    kernels().embed(stream(), args);
    return download<float>(out, count);
  }
};

// A plain weight, and one whose scale has fp16's 11 bits, fits fp32; with fp32 scales the product
// is rounded once. So it is the float64 value rounded to fp32, always.
TEST_P(Embed, EveryFormat_GivesTheRowOfTheToken) {
  for (const WeightKind& kind :
       {WeightKind{"bf16", GpuWeightFormat::kBF16}, WeightKind{"f16", GpuWeightFormat::kF16},
        WeightKind{"int8", GpuWeightFormat::kInt8, -1, true},
        WeightKind{"int8_g32", GpuWeightFormat::kInt8, 32},
        WeightKind{"int4", GpuWeightFormat::kInt4, 32, false, true},
        WeightKind{"int4_f32", GpuWeightFormat::kInt4, 64, true}}) {
    SCOPED_TRACE(kind.name);
    const TestMatrix matrix = make_matrix(kind, 9, 320, 41);
    const std::vector<int32_t> token_ids = {8, 0, 3, 3};
    const std::vector<float> found = run(matrix, token_ids, {0, 0, 0, 0}, {5});
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i],
                static_cast<float>(matrix.weight(token_ids[i / 320], static_cast<int>(i % 320))))
          << i;
    }
  }
}

TEST_P(Embed, PendingToken_IsTheLastOneOfItsSlot) {
  const TestMatrix matrix = make_matrix({"bf16", GpuWeightFormat::kBF16}, 9, 8, 42);
  const std::vector<float> found = run(matrix, {-1, 4, -1}, {2, 2, 0}, {6, 1, 7});
  const int expected[] = {7, 4, 6};
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i], static_cast<float>(matrix.weight(expected[i / 8], static_cast<int>(i % 8))))
        << i;
  }
}

SPARROW_ON_EVERY_GPU(Embed);

}  // namespace
}  // namespace sparrow
