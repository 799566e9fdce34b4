#include "tools/bench/gpu_probe.h"

#include <algorithm>
#include <chrono>

namespace sparrow {
namespace {

constexpr int kCopiesPerPass = 20;  // one alone is over before the clock has counted much

}  // namespace

Result<GpuCopyProbe> GpuCopyProbe::create(std::unique_ptr<GpuDevice> device, size_t bytes) {
  GpuCopyProbe probe;
  ASSIGN_OR_RETURN(probe.from_, GpuBuffer::create(*device, bytes));
  ASSIGN_OR_RETURN(probe.to_, GpuBuffer::create(*device, bytes));
  device->fill(probe.from_.as<void>(), 0x5a, bytes);
  device->copy_on_device(probe.to_.as<void>(), probe.from_.as<void>(), bytes);
  RETURN_IF_ERROR(device->synchronize());
  probe.device_ = std::move(device);
  return probe;
}

double GpuCopyProbe::pass() {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kCopiesPerPass; ++i) {
    device_->copy_on_device(to_.as<void>(), from_.as<void>(), to_.size_bytes());
  }
  if (!device_->synchronize().ok()) return 0;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  return 2.0 * static_cast<double>(to_.size_bytes()) * kCopiesPerPass / seconds.count();
}

double GpuCopyProbe::best_of_five() {
  double best = 0;
  for (int i = 0; i < 5; ++i) best = std::max(best, pass());
  return best;
}

}  // namespace sparrow
