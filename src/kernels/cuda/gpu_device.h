#pragma once
// GpuDevice: memory, one stream, events and graphs of a graphics card, and the kernels that run
// there. Two implementations: the card (cuda_device.h) and the host twin (twin/twin_device.h), an
// emulator that runs the same kernel sources on the CPU, so that everything but speed is tested
// where no card is.
//
// Calls come from one thread at a time, which says so first (use_on_this_thread); the thread that
// opened the device has said so. Work is queued on the stream and runs in order; copies read and
// write host memory until the next synchronize() or wait(), so that memory must be pinned
// (GpuBuffer of kind kPinned) and left alone. A failed launch or copy is reported by the next call
// that returns a Status, and by every one after it when the device is lost.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "kernels/cuda/gpu_device_info.h"
#include "kernels/cuda/gpu_stream.h"
#include "kernels/cuda/product_library.h"

namespace sparrow {

struct GpuKernels;

// A recorded sequence of launches and copies with all their arguments; what changes from run to run
// lies in device memory. Destroyed before its device.
class GpuGraph {
 public:
  virtual ~GpuGraph() = default;
};

// A point of the stream. Reused: record() moves it.
class GpuEvent {
 public:
  virtual ~GpuEvent() = default;
};

class GpuDevice {
 public:
  virtual ~GpuDevice() = default;

  // Which of several cards a thread means is the thread's own state in CUDA: without this a new
  // thread means the first card. Cheap to repeat.
  virtual void use_on_this_thread() {}

  virtual const GpuDeviceInfo& info() const = 0;
  virtual const GpuKernels& kernels() const = 0;
  virtual GpuStream stream() const = 0;

  // kResourceExhausted when there is no room. The contents are undefined. Aligned to 16 bytes at
  // least.
  virtual Result<void*> allocate(size_t bytes) = 0;
  virtual void free(void* memory) = 0;
  virtual Result<void*> allocate_pinned(size_t bytes) = 0;
  virtual void free_pinned(void* memory) = 0;
  // Of the device now, for a second look after the plan.
  virtual Result<int64_t> free_bytes() = 0;

  virtual void copy_to_device(void* device, const void* pinned, size_t bytes) = 0;
  virtual void copy_to_host(void* pinned, const void* device, size_t bytes) = 0;
  virtual void copy_on_device(void* to, const void* from, size_t bytes) = 0;
  virtual void fill(void* device, uint8_t value, size_t bytes) = 0;

  virtual Result<std::unique_ptr<GpuEvent>> create_event() = 0;
  virtual void record(GpuEvent& event) = 0;
  // Waits until everything queued before record() is done.
  virtual Status wait(GpuEvent& event) = 0;
  virtual Status synchronize() = 0;

  // Launches and copies between these two are recorded instead of run.
  virtual Status begin_capture() = 0;
  virtual Result<std::unique_ptr<GpuGraph>> end_capture() = 0;
  virtual void launch(GpuGraph& graph) = 0;

  // The vendor's library of products, from a file or, with an empty path, from its usual places.
  // kUnavailable: it is not there, or the device has none.
  virtual Result<std::unique_ptr<GpuProductLibrary>> open_product_library(const std::string& path) {
    (void)path;
    return unavailable(info().name + " has no library of products");
  }
};

}  // namespace sparrow
