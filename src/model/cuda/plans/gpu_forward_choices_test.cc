#include "model/cuda/plans/gpu_forward_choices.h"

#include <gtest/gtest.h>

#include <vector>

namespace sparrow {
namespace {

std::vector<bool> fields(const GpuForwardChoices& choices) {
  return {choices.merge_in_attention, choices.cut_products_for_card, choices.norm_in_products,
          choices.rope_in_products, choices.overlap_launches};
}

TEST(GpuForwardChoices, LeaveOut_TurnsOffTheOneThatIsNamed) {
  const char* const names[] = {"merge", "cut", "norm", "rope", "overlap"};
  for (size_t i = 0; i < std::size(names); ++i) {
    GpuForwardChoices choices;
    std::vector<bool> expected(std::size(names), true);
    expected[i] = false;
    EXPECT_TRUE(leave_out(choices, names[i]).ok());
    EXPECT_EQ(fields(choices), expected) << names[i];
  }
}

TEST(GpuForwardChoices, UnknownName_IsAnErrorThatListsThem) {
  GpuForwardChoices choices;
  const Status status = leave_out(choices, "graph");
  EXPECT_EQ(status.message(),
            "--gpu-leave-out graph: it is none of merge, cut, norm, rope, overlap");
  EXPECT_EQ(fields(choices), std::vector<bool>(5, true));
}

}  // namespace
}  // namespace sparrow
