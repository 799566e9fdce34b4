#include "tools/bench/gpu_probe.h"

#include "kernels/cuda/gpu_test_support.h"

namespace sparrow {
namespace {

class GpuProbe : public GpuTest {};

TEST_P(GpuProbe, Copies_ReportARateAndLeaveNothingBehind) {
  std::unique_ptr<GpuDevice> device = open_test_device(GetParam());
  Result<GpuCopyProbe> probe = GpuCopyProbe::create(std::move(device), 1 << 16);
  ASSERT_TRUE(probe.ok()) << probe.message();
  EXPECT_GT(probe->pass(), 0);
  EXPECT_GE(probe->best_of_five(), 0);
}

TEST_P(GpuProbe, MoreThanTheDeviceHas_IsRefused) {
  std::unique_ptr<GpuDevice> device = open_test_device(GetParam());
  const auto total = static_cast<size_t>(device->info().total_bytes);
  const Result<GpuCopyProbe> probe = GpuCopyProbe::create(std::move(device), total);
  ASSERT_FALSE(probe.ok());
  EXPECT_EQ(probe.status().code(), StatusCode::kResourceExhausted);
}

SPARROW_ON_EVERY_GPU(GpuProbe);

}  // namespace
}  // namespace sparrow
