#include "model/cuda/plans/known_gpus.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace sparrow {
namespace {

// The batch at which each card turns from memory to compute, as the capacity guide has it. Of the
// T4 the guide takes what can be sustained, of the H100 nothing.
TEST(KnownGpus, CrossoverRows_AreThoseOfTheCapacityGuide) {
  const std::pair<const char*, double> expected[] = {
      {"H200", 184}, {"A40", 214}, {"A10G", 117}, {"RTX 3060 12 GB", 71}};
  for (const auto& [name, rows] : expected) {
    const KnownGpu* card = find_known_gpu(name);
    ASSERT_NE(card, nullptr) << name;
    EXPECT_NEAR(card->crossover_rows(), rows, 1) << name;  // both figures are rounded
  }
}

TEST(KnownGpus, EveryCard_IsADeviceThatAKernelCanBePlannedFor) {
  for (const KnownGpu& card : known_gpus()) {
    const GpuDeviceInfo device = card.device();
    EXPECT_EQ(device.compute_capability(), card.compute_capability) << card.name;
    EXPECT_EQ(device.free_bytes, device.total_bytes) << card.name;
    EXPECT_GE(device.total_bytes, 6'000'000'000) << card.name;
    EXPECT_GE(device.shared_bytes_per_sm, device.max_shared_bytes_per_block) << card.name;
    EXPECT_GE(device.max_shared_bytes_per_block, 64 * 1024) << card.name;
    EXPECT_EQ(find_known_gpu(card.name), &card);
  }
  EXPECT_EQ(find_known_gpu("RTX 5090"), nullptr);
}

}  // namespace
}  // namespace sparrow
