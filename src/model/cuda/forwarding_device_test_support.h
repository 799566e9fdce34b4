#pragma once
// ForwardingDevice: the host twin behind a test's own device, which overrides what it wants to
// break. Test support only.

#include <memory>
#include <string>

#include "kernels/cuda/twin/twin_device.h"

namespace sparrow {

class ForwardingDevice : public GpuDevice {
 public:
  explicit ForwardingDevice(const TwinDeviceOptions& options = {})
      : twin_(make_twin_device(options)) {}

  const GpuDeviceInfo& info() const override { return twin_->info(); }
  const GpuKernels& kernels() const override { return twin_->kernels(); }
  GpuStream stream() const override { return twin_->stream(); }
  Result<void*> allocate(size_t bytes) override { return twin_->allocate(bytes); }
  void free(void* memory) override { twin_->free(memory); }
  Result<void*> allocate_pinned(size_t bytes) override { return twin_->allocate_pinned(bytes); }
  void free_pinned(void* memory) override { twin_->free_pinned(memory); }
  Result<int64_t> free_bytes() override { return twin_->free_bytes(); }
  void copy_to_device(void* device, const void* pinned, size_t bytes) override {
    twin_->copy_to_device(device, pinned, bytes);
  }
  void copy_to_host(void* pinned, const void* device, size_t bytes) override {
    twin_->copy_to_host(pinned, device, bytes);
  }
  void copy_on_device(void* to, const void* from, size_t bytes) override {
    twin_->copy_on_device(to, from, bytes);
  }
  void fill(void* device, uint8_t value, size_t bytes) override {
    twin_->fill(device, value, bytes);
  }
  Result<std::unique_ptr<GpuEvent>> create_event() override { return twin_->create_event(); }
  void record(GpuEvent& event) override { twin_->record(event); }
  Status wait(GpuEvent& event) override { return twin_->wait(event); }
  Status synchronize() override { return twin_->synchronize(); }
  Status begin_capture() override { return twin_->begin_capture(); }
  Result<std::unique_ptr<GpuGraph>> end_capture() override { return twin_->end_capture(); }
  void launch(GpuGraph& graph) override { twin_->launch(graph); }

 private:
  std::unique_ptr<GpuDevice> twin_;
};

}  // namespace sparrow
