// Attention by matrix units: head sizes 64 and 128, long items (16 rows and more) and short ones.
#include "kernels/cuda/attention/attention_test_support.h"

namespace sparrow {
namespace {

class AttentionTiles : public AttentionTest {
 protected:
  void expect_tiles_agree(const AttentionScene& scene) {
    expect_agrees(scene, run_bits(scene, true), true);
  }
};

constexpr GpuFloat kTypes[] = {GpuFloat::kBF16, GpuFloat::kF16};
constexpr GpuKvFormat kFormats[] = {GpuKvFormat::kBF16, GpuKvFormat::kInt8};

TEST_P(AttentionTiles, DecodeOfEveryContext_AgreesWithFloat64) {
  for (const GpuHeads& heads : {GpuHeads{12, 2, 128}, {6, 1, 64}}) {
    for (const GpuFloat type : kTypes) {
      for (const GpuKvFormat format : kFormats) {
        AttentionScene scene(heads, format, type, 70, 1);
        for (const int context : {1, 15, 16, 17, 64, 65, 100, 700}) {
          scene.add_item(scene.add_rows(scene.add_sequence(context), context - 1, 1), 1);
          scene.add_padding();
        }
        expect_tiles_agree(scene);
      }
    }
  }
}

// 50 rows of 6 heads are 300 rows of the matrix: 4 blocks full and one in part, whose boundaries
// cut through the heads of a row.
TEST_P(AttentionTiles, PromptTilesWithOffsets_AgreeWithFloat64) {
  for (const GpuHeads& heads : {GpuHeads{12, 2, 128}, {6, 1, 64}}) {
    for (const GpuFloat type : kTypes) {
      for (const GpuKvFormat format : kFormats) {
        AttentionScene scene(heads, format, type, 20, 2);
        const int first_row = scene.add_rows(scene.add_sequence(130), 40, 80);
        scene.add_item(first_row, 50);
        scene.add_padding();
        scene.add_item(first_row + 50, 16);
        scene.add_item(first_row + 66, 14);
        scene.add_item(scene.add_rows(scene.add_sequence(16), 0, 16), 16);
        expect_tiles_agree(scene);
      }
    }
  }
}

// Groups of 1 (many rows in a block) and of 17 (one row in more than a block of a short item).
TEST_P(AttentionTiles, OtherGroups_AgreeWithFloat64) {
  for (const GpuHeads& heads : {GpuHeads{2, 2, 64}, {7, 1, 64}, {17, 1, 64}}) {
    AttentionScene scene(heads, GpuKvFormat::kBF16, GpuFloat::kBF16, 30, 3);
    const int first_row = scene.add_rows(scene.add_sequence(100), 0, 100);
    scene.add_item(first_row, 70);
    scene.add_item(first_row + 70, 15);
    scene.add_item(first_row + 85, 1);
    scene.add_item(first_row + 86, 3);
    scene.add_item(first_row + 89, 11);
    expect_tiles_agree(scene);
  }
}

TEST_P(AttentionTiles, SplitsOfEverySize_AgreeWithFloat64) {
  for (const int split : {16, 48, 64, 512}) {
    for (const GpuKvFormat format : kFormats) {
      AttentionScene scene({6, 1, 64}, format, GpuFloat::kBF16, 70, 4);
      for (const int context : {1, 17, 320, 512}) {
        scene.add_split(scene.add_rows(scene.add_sequence(context), context - 1, 1), 1, split);
        scene.add_combine_padding();
        scene.add_padding();
      }
      // The early rows see nothing of the last ranges.
      scene.add_split(scene.add_rows(scene.add_sequence(75), 25, 50), 50, split);
      expect_tiles_agree(scene);
    }
  }
}

TEST_P(AttentionTiles, OtherItemsInTheLaunch_ChangeNoBit) {
  for (const GpuKvFormat format : kFormats) {
    AttentionScene scene({12, 2, 128}, format, GpuFloat::kBF16, 40, 5);
    const int decode = scene.add_rows(scene.add_sequence(150), 149, 1);
    const int prompt = scene.add_rows(scene.add_sequence(40), 20, 20);
    scene.add_item(decode, 1);
    const std::vector<uint16_t> decode_alone = row_bits(scene, run_bits(scene, true), decode);
    scene.items.clear();
    scene.add_item(prompt, 20);
    const std::vector<uint16_t> prompt_alone = row_bits(scene, run_bits(scene, true), prompt + 7);
    scene.add_padding();
    scene.add_split(scene.add_rows(scene.add_sequence(70), 69, 1), 1, 16);
    scene.add_item(scene.add_rows(scene.add_sequence(30), 0, 30), 30);
    scene.add_item(decode, 1);
    const std::vector<uint16_t> found = run_bits(scene, true);
    EXPECT_EQ(row_bits(scene, found, decode), decode_alone);
    EXPECT_EQ(row_bits(scene, found, prompt + 7), prompt_alone);
    expect_agrees(scene, found, true);
  }
}

// As in attention_test.cc: scores of up to 1e4 and down to -1e4, 50 apart.
TEST_P(AttentionTiles, HugeScores_NoOverflow) {
  for (const float sign : {1.0f, -1.0f}) {
    for (const GpuFloat type : kTypes) {
      AttentionScene scene({2, 1, 64}, GpuKvFormat::kBF16, type, 40, 6);
      const int sequence = scene.add_sequence(200);
      for (int position = 0; position < 200; ++position) {
        const float k = sign * 0.0625f * static_cast<float>(200 - position);
        scene.keys.set(scene.token_of(sequence, position, 0), std::vector<float>(64, k));
      }
      const int first_row = scene.add_rows(sequence, 100, 100);
      std::fill(scene.q.begin(), scene.q.end(), round_to_x(100.0f, type));
      scene.add_item(first_row, 90);
      scene.add_item(first_row + 90, 9);
      scene.add_split(first_row + 99, 1, 64);
      expect_tiles_agree(scene);
    }
  }
}

TEST_P(AttentionTiles, NothingVisible_ZerosNotNan) {
  for (const int num_rows : {3, 16}) {
    AttentionScene scene({2, 1, 64}, GpuKvFormat::kBF16, GpuFloat::kBF16, 20, 7);
    AttentionItem item =
        scene.item_of(scene.add_rows(scene.add_sequence(60), 5, num_rows), num_rows);
    item.kv_begin = 32;
    item.kv_end = 48;
    scene.items.push_back(item);
    for (const uint16_t bits : run_bits(scene, true)) EXPECT_EQ(bits, 0);
  }
}

TEST_P(AttentionTiles, Bf16CacheBeyondFp16_BecomesItsLargest) {
  AttentionScene scene({1, 1, 64}, GpuKvFormat::kBF16, GpuFloat::kF16, 20, 8);
  const int sequence = scene.add_sequence(1);
  scene.values.set(scene.token_of(sequence, 0, 0), std::vector<float>(64, -1e6f));
  scene.add_item(scene.add_rows(sequence, 0, 1), 1);
  for (const uint16_t bits : run_bits(scene, true)) {
    EXPECT_EQ(float_from_f16(bits), -65504.0f);
  }
}

SPARROW_ON_EVERY_GPU(AttentionTiles);

}  // namespace
}  // namespace sparrow
