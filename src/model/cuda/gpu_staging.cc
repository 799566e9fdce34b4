#include "model/cuda/gpu_staging.h"

#include <cstring>

#include "base/check.h"

namespace sparrow {

GpuStaging::GpuStaging(GpuDevice& device, size_t half_bytes)
    : device_(&device), half_bytes_(half_bytes) {}

Result<GpuStaging> GpuStaging::create(GpuDevice& device, size_t half_bytes) {
  GpuStaging staging(device, half_bytes);
  for (size_t i = 0; i < 2; ++i) {
    ASSIGN_OR_RETURN(staging.halves_[i],
                     GpuBuffer::create(device, half_bytes, GpuBuffer::Kind::kPinned));
    ASSIGN_OR_RETURN(staging.left_[i], device.create_event());
  }
  return staging;
}

Result<void*> GpuStaging::take(size_t bytes) {
  constexpr size_t kAlignment = 16;
  CHECK(bytes <= half_bytes_);
  if (used_bytes_ + bytes > half_bytes_) {
    device_->record(*left_[current_]);
    was_left_[current_] = true;
    current_ = 1 - current_;
    used_bytes_ = 0;
    if (was_left_[current_]) RETURN_IF_ERROR(device_->wait(*left_[current_]));
  }
  last_ = halves_[current_].as<std::byte>(used_bytes_);
  used_bytes_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return static_cast<void*>(last_);
}

void GpuStaging::commit(void* device_memory, size_t bytes) {
  if (bytes == 0) return;
  device_->copy_to_device(device_memory, last_, bytes);
}

Status GpuStaging::upload(void* device_memory, const void* host, size_t bytes) {
  if (bytes == 0) return ok_status();
  ASSIGN_OR_RETURN(void* pinned, take(bytes));
  std::memcpy(pinned, host, bytes);
  commit(device_memory, bytes);
  return ok_status();
}

}  // namespace sparrow
