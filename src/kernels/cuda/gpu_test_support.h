#pragma once
// For tests of GPU kernels: the devices to run on (the host twin always, a card where there is one)
// and values to and from them. Test support only.

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/gpu_buffer.h"
#include "kernels/cuda/gpu_kernels.h"
#include "kernels/cuda/twin/twin_device.h"

namespace sparrow {

inline std::vector<std::string> gpu_targets() { return {"twin", "cuda"}; }

// Null where there is no card; why_no_cuda_device() says why.
inline std::unique_ptr<GpuDevice> open_test_device(const std::string& target) {
  if (target == "twin") {
    TwinDeviceOptions card;
    card.num_sms = 12;  // each costs the emulator a block that prepares its inputs
    return make_twin_device(card);
  }
  if (num_cuda_devices() == 0) return nullptr;
  Result<std::unique_ptr<GpuDevice>> device = open_cuda_device(0);
  EXPECT_TRUE(device.ok()) << device.message();
  return device.ok() ? std::move(device).value() : nullptr;
}

// Parameter: one of gpu_targets().
class GpuTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    device_ = open_test_device(GetParam());
    if (device_ == nullptr) GTEST_SKIP() << "no GPU: " << why_no_cuda_device();
  }

  GpuDevice& device() { return *device_; }
  const GpuKernels& kernels() { return device_->kernels(); }
  GpuStream stream() { return device_->stream(); }

  // Contents undefined: NaN patterns on the twin, poisoned by hand on the card.
  template <typename T>
  GpuBuffer make(size_t count) {
    Result<GpuBuffer> buffer = GpuBuffer::create(*device_, std::max<size_t>(count, 1) * sizeof(T));
    EXPECT_TRUE(buffer.ok()) << buffer.message();
    device_->fill(buffer->as<T>(), 0xff, buffer->size_bytes());
    return std::move(buffer).value();
  }
  template <typename T>
  GpuBuffer upload(const std::vector<T>& values) {
    GpuBuffer buffer = make<T>(values.size());
    if (values.empty()) return buffer;
    GpuBuffer pinned = make_pinned(values.size() * sizeof(T));
    std::memcpy(pinned.as<T>(), values.data(), values.size() * sizeof(T));
    device_->copy_to_device(buffer.as<T>(), pinned.as<T>(), values.size() * sizeof(T));
    sync();
    return buffer;
  }
  template <typename T>
  std::vector<T> download(const GpuBuffer& buffer, size_t count) {
    GpuBuffer pinned = make_pinned(std::max<size_t>(count, 1) * sizeof(T));
    device_->copy_to_host(pinned.as<T>(), buffer.as<T>(), count * sizeof(T));
    sync();
    return std::vector<T>(pinned.as<T>(), pinned.as<T>() + count);
  }
  void sync() {
    const Status status = device_->synchronize();
    ASSERT_TRUE(status.ok()) << status.message();
  }

 private:
  GpuBuffer make_pinned(size_t bytes) {
    Result<GpuBuffer> pinned = GpuBuffer::create(*device_, bytes, GpuBuffer::Kind::kPinned);
    EXPECT_TRUE(pinned.ok()) << pinned.message();
    return std::move(pinned).value();
  }

  std::unique_ptr<GpuDevice> device_;
};

inline std::string gpu_target_name(const testing::TestParamInfo<std::string>& test) {
  return test.param;
}
#define SPARROW_ON_EVERY_GPU(Fixture) \
  INSTANTIATE_TEST_SUITE_P(Gpu, Fixture, testing::ValuesIn(gpu_targets()), gpu_target_name)

inline std::vector<float> random_floats(size_t count, uint64_t seed, float scale = 1.0f) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(engine);
  return values;
}

}  // namespace sparrow
