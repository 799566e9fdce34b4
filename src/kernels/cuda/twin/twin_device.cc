#include "kernels/cuda/twin/twin_device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <map>

#include "base/check.h"
#include "kernels/cuda/gpu_kernels.h"
#include "kernels/cuda/products/cublas_lt.h"
#include "kernels/cuda/twin/twin_block.h"
#include "kernels/cuda/twin/twin_queue.h"

namespace sparrow {
namespace gpu_twin {

const GpuKernels& kernel_table();  // gpu_kernel_table.cu

namespace {

struct TwinGraph final : GpuGraph {
  TwinWork work;
};
struct TwinEvent final : GpuEvent {};

struct Allocation {
  std::byte* mapping = nullptr;  // pages, then one that stays closed
  size_t open_bytes = 0;
  size_t size_bytes = 0;
};

class TwinDevice final : public GpuDevice, public TwinQueue {
 public:
  explicit TwinDevice(const TwinDeviceOptions& options) {
    info_.name = "host twin";
    info_.compute_major = options.compute_major;
    info_.compute_minor = options.compute_minor;
    info_.num_sms = options.num_sms;
    info_.l2_bytes = 50 << 20;
    info_.max_shared_bytes_per_block = static_cast<int32_t>(kMaxSharedBytes);
    info_.shared_bytes_per_sm = 228 << 10;
    info_.registers_per_sm = 64 << 10;
    info_.max_threads_per_sm = 2048;
    info_.total_bytes = options.total_bytes;
    info_.free_bytes = options.total_bytes;
  }
  ~TwinDevice() override { CHECK(allocations_.empty() && "a buffer outlived its device"); }

  const GpuDeviceInfo& info() const override { return info_; }
  const GpuKernels& kernels() const override { return kernel_table(); }
  GpuStream stream() const override {
    return {const_cast<TwinQueue*>(static_cast<const TwinQueue*>(this))};
  }

  Result<void*> allocate(size_t bytes) override;
  void free(void* memory) override;
  Result<void*> allocate_pinned(size_t bytes) override {
    auto* memory = static_cast<std::byte*>(::operator new (bytes, std::align_val_t{256}));
    std::memset(memory, 0xff, bytes);
    return static_cast<void*>(memory);
  }
  void free_pinned(void* memory) override { ::operator delete (memory, std::align_val_t{256}); }
  Result<int64_t> free_bytes() override { return info_.total_bytes - used_bytes_; }

  void copy_to_device(void* device, const void* pinned, size_t bytes) override {
    add([=] { std::memcpy(device, pinned, bytes); });
  }
  void copy_to_host(void* pinned, const void* device, size_t bytes) override {
    add([=] { std::memcpy(pinned, device, bytes); });
  }
  void copy_on_device(void* to, const void* from, size_t bytes) override {
    add([=] { std::memcpy(to, from, bytes); });
  }
  void fill(void* device, uint8_t value, size_t bytes) override {
    add([=] { std::memset(device, value, bytes); });
  }

  Result<std::unique_ptr<GpuEvent>> create_event() override {
    return std::unique_ptr<GpuEvent>(std::make_unique<TwinEvent>());
  }
  void record(GpuEvent&) override {}
  Status wait(GpuEvent&) override { return ok_status(); }
  Status synchronize() override {
    CHECK(!capturing_);
    return ok_status();
  }

  Status begin_capture() override {
    CHECK(!capturing_);
    capturing_ = true;
    captured_.clear();
    return ok_status();
  }
  Result<std::unique_ptr<GpuGraph>> end_capture() override {
    CHECK(capturing_);
    capturing_ = false;
    auto graph = std::make_unique<TwinGraph>();
    graph->work = std::move(captured_);
    return std::unique_ptr<GpuGraph>(std::move(graph));
  }
  void launch(GpuGraph& graph) override {
    for (const auto& work : static_cast<TwinGraph&>(graph).work) add(work);
  }

  // A stand-in that a test brings along, which queues its work here.
  Result<std::unique_ptr<GpuProductLibrary>> open_product_library(
      const std::string& path) override {
    if (path.empty()) return unavailable("the host twin has no library of products");
    return open_cublas_lt(stream(), path);
  }

  void add(std::function<void()> work) override {
    if (capturing_) {
      captured_.push_back(std::move(work));
      return;
    }
    protect_all(PROT_READ | PROT_WRITE);
    work();
    protect_all(PROT_NONE);
  }

 private:
  void protect_all(int protection) {
    for (const auto& [address, allocation] : allocations_) {
      CHECK(mprotect(allocation.mapping, allocation.open_bytes, protection) == 0);
    }
  }

  GpuDeviceInfo info_;
  std::map<void*, Allocation> allocations_;
  int64_t used_bytes_ = 0;
  bool capturing_ = false;
  TwinWork captured_;
};

// Ends at the closed page, but for what the alignment of 16 bytes leaves.
Result<void*> TwinDevice::allocate(size_t bytes) {
  CHECK(bytes > 0);
  if (static_cast<int64_t>(bytes) > info_.total_bytes - used_bytes_) {
    return resource_exhausted("the device has too little memory left");
  }
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  Allocation allocation;
  allocation.size_bytes = bytes;
  allocation.open_bytes = (bytes + page - 1) / page * page;
  void* mapping = mmap(nullptr, allocation.open_bytes + page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return resource_exhausted("the host has too little memory left");
  allocation.mapping = static_cast<std::byte*>(mapping);
  std::memset(mapping, 0xff, allocation.open_bytes);
  CHECK(mprotect(mapping, allocation.open_bytes + page, PROT_NONE) == 0);
  constexpr size_t kAlignment = 16;
  std::byte* memory =
      allocation.mapping + (allocation.open_bytes - bytes) / kAlignment * kAlignment;
  allocations_[memory] = allocation;
  used_bytes_ += static_cast<int64_t>(bytes);
  return static_cast<void*>(memory);
}

void TwinDevice::free(void* memory) {
  const auto found = allocations_.find(memory);
  CHECK(found != allocations_.end());
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  CHECK(munmap(found->second.mapping, found->second.open_bytes + page) == 0);
  used_bytes_ -= static_cast<int64_t>(found->second.size_bytes);
  allocations_.erase(found);
}

}  // namespace
}  // namespace gpu_twin

std::unique_ptr<GpuDevice> make_twin_device(const TwinDeviceOptions& options) {
  return std::make_unique<gpu_twin::TwinDevice>(options);
}

}  // namespace sparrow
