// Attention by rows: any shape, every card.
#include "kernels/cuda/attention/attention_test_support.h"

namespace sparrow {
namespace {

class AttentionRows : public AttentionTest {};

constexpr GpuFloat kTypes[] = {GpuFloat::kBF16, GpuFloat::kF16};
constexpr GpuKvFormat kFormats[] = {GpuKvFormat::kBF16, GpuKvFormat::kInt8};
constexpr GpuHeads kShapes[] = {{4, 2, 32}, {12, 2, 128}, {6, 1, 64}, {2, 2, 16}};

TEST_P(AttentionRows, DecodeOfEveryShapeAndContext_AgreesWithFloat64) {
  for (const GpuHeads& heads : kShapes) {
    for (const GpuFloat type : kTypes) {
      for (const GpuKvFormat format : kFormats) {
        AttentionScene scene(heads, format, type, 70, 1);
        for (const int context : {1, 15, 16, 17, 100, 700}) {
          scene.add_item(scene.add_rows(scene.add_sequence(context), context - 1, 1), 1);
          scene.add_padding();
        }
        expect_agrees(scene, run_bits(scene));
      }
    }
  }
}

// Head sizes that are no multiple of 8, and groups that fill one, two and three blocks' heads.
TEST_P(AttentionRows, OddHeadSizesAndGroups_AgreeWithFloat64) {
  constexpr GpuHeads kOdd[] = {{1, 1, 2},  {3, 1, 6},  {5, 1, 10},  {7, 1, 80}, {16, 2, 24},
                               {9, 1, 96}, {17, 1, 8}, {2, 1, 250}, {7, 1, 256}};
  for (const GpuHeads& heads : kOdd) {
    for (const GpuKvFormat format : kFormats) {
      AttentionScene scene(heads, format, GpuFloat::kF16, 20, 2);
      for (const int context : {3, 130}) {
        scene.add_item(scene.add_rows(scene.add_sequence(context), context - 1, 1), 1);
      }
      expect_agrees(scene, run_bits(scene));
    }
  }
}

TEST_P(AttentionRows, PromptTilesWithOffsets_AgreeWithFloat64) {
  for (const GpuHeads& heads : kShapes) {
    AttentionScene scene(heads, GpuKvFormat::kBF16, GpuFloat::kBF16, 20, 3);
    const int sequence = scene.add_sequence(100);
    const int first_row = scene.add_rows(sequence, 37, 50);  // the cache holds later tokens, too
    scene.add_item(first_row, 20);
    scene.add_item(first_row + 20, 20);
    scene.add_item(first_row + 40, 10);
    scene.add_item(scene.add_rows(scene.add_sequence(9), 0, 9), 9);
    expect_agrees(scene, run_bits(scene));
  }
}

TEST_P(AttentionRows, SplitsOfEverySize_AgreeWithFloat64) {
  for (const int split : {16, 48, 64, 256, 512}) {
    for (const GpuKvFormat format : kFormats) {
      AttentionScene scene({6, 1, 64}, format, GpuFloat::kF16, 70, 4);
      for (const int context : {1, 17, 512, 320}) {
        scene.add_split(scene.add_rows(scene.add_sequence(context), context - 1, 1), 1, split);
        scene.add_combine_padding();
        scene.add_padding();
      }
      expect_agrees(scene, run_bits(scene));
    }
  }
}

// 20, 257 and 300 ranges: merging takes two and three levels, with nodes of a single member.
TEST_P(AttentionRows, MoreRangesThanAMergeTakesAtOnce_AgreeWithFloat64) {
  for (const GpuHeads& heads : {GpuHeads{2, 1, 16}, {4, 2, 10}}) {
    AttentionScene scene(heads, GpuKvFormat::kBF16, GpuFloat::kF16, 700, 10);
    for (const int context : {320, 4097, 4800}) {
      scene.add_split(scene.add_rows(scene.add_sequence(context), context - 1, 1), 1, 16);
    }
    scene.add_split(scene.add_rows(scene.add_sequence(350), 340, 3), 3, 16);
    expect_agrees(scene, run_bits(scene));
  }
}

// The early rows of the tile see nothing of the last ranges.
TEST_P(AttentionRows, SplitPromptTile_RowsThatSeeNothingOfARangeAgree) {
  AttentionScene scene({4, 2, 32}, GpuKvFormat::kBF16, GpuFloat::kBF16, 20, 5);
  const int first_row = scene.add_rows(scene.add_sequence(75), 25, 50);
  scene.add_split(first_row, 50, 16);
  expect_agrees(scene, run_bits(scene));
}

TEST_P(AttentionRows, OtherItemsInTheLaunch_ChangeNoBit) {
  for (const GpuKvFormat format : kFormats) {
    AttentionScene scene({12, 2, 128}, format, GpuFloat::kBF16, 40, 6);
    const int row = scene.add_rows(scene.add_sequence(150), 149, 1);
    scene.add_item(row, 1);
    const std::vector<uint16_t> alone = row_bits(scene, run_bits(scene), row);
    scene.add_padding();
    scene.add_item(scene.add_rows(scene.add_sequence(30), 10, 20), 20);
    scene.add_split(scene.add_rows(scene.add_sequence(70), 69, 1), 1, 16);
    std::rotate(scene.items.begin(), scene.items.begin() + 2, scene.items.end());
    const std::vector<uint16_t> found = run_bits(scene);
    EXPECT_EQ(row_bits(scene, found, row), alone);
    expect_agrees(scene, found);
  }
}

// Scores of up to 1e4 and down to -1e4: without the maximum subtracted, exp overflows or the sum is
// zero. They lie 50 apart, so that one token takes all the weight and the errors of fp32 scores of
// that size (some 1e-3) change nothing.
TEST_P(AttentionRows, HugeScores_NoOverflow) {
  for (const float sign : {1.0f, -1.0f}) {
    AttentionScene scene({2, 1, 64}, GpuKvFormat::kBF16, GpuFloat::kBF16, 40, 7);
    const int sequence = scene.add_sequence(200);
    for (int position = 0; position < 200; ++position) {
      // q is 100 everywhere: the score is 64 * 100 * k / 8.
      const float k = sign * 0.0625f * static_cast<float>(200 - position);
      scene.keys.set(scene.token_of(sequence, position, 0), std::vector<float>(64, k));
    }
    const int row = scene.add_rows(sequence, 199, 1);
    std::fill(scene.q.begin(), scene.q.end(), bf16_from_float(100.0f));
    scene.add_item(row, 1);
    const std::vector<uint16_t> whole = run_bits(scene);
    expect_agrees(scene, whole);
    scene.items.clear();
    scene.add_split(row, 1, 64);
    expect_agrees(scene, run_bits(scene));
  }
}

TEST_P(AttentionRows, NothingVisible_ZerosNotNan) {
  AttentionScene scene({2, 1, 16}, GpuKvFormat::kBF16, GpuFloat::kBF16, 20, 8);
  const int row = scene.add_rows(scene.add_sequence(40), 5, 1);
  AttentionItem item = scene.item_of(row, 1);
  item.kv_begin = 16;
  item.kv_end = 32;
  scene.items.push_back(item);
  for (const uint16_t bits : run_bits(scene)) EXPECT_EQ(bits, 0);
}

TEST_P(AttentionRows, MergeOfPartialsThatSawNothing_ZerosNotNan) {
  AttentionScene scene({2, 1, 16}, GpuKvFormat::kBF16, GpuFloat::kBF16, 20, 8);
  const int row = scene.add_rows(scene.add_sequence(40), 5, 1);
  for (int i = 0; i < 2; ++i) {
    AttentionItem item = scene.item_of(row, 1);
    item.kv_begin = 16 * (i + 1);
    item.kv_end = 40;
    item.partial = i;
    item.range = i;
    item.num_ranges = 2;
    scene.items.push_back(item);
  }
  scene.num_partials = 2;
  scene.combine.push_back({row, 2, 0, 1});
  for (const uint16_t bits : run_bits(scene)) EXPECT_EQ(bits, 0);
}

TEST_P(AttentionRows, PaddingItemsAlone_WriteNothing) {
  AttentionScene scene({2, 1, 16}, GpuKvFormat::kBF16, GpuFloat::kBF16, 20, 9);
  scene.add_rows(scene.add_sequence(40), 5, 2);
  scene.add_padding();
  scene.add_combine_padding();
  for (const uint16_t bits : run_bits(scene)) EXPECT_EQ(bits, 0xffff);
}

SPARROW_ON_EVERY_GPU(AttentionRows);

}  // namespace
}  // namespace sparrow
