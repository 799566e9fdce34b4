#include "kernels/cuda/cuda_device.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "base/check.h"
#include "kernels/cuda/gpu_kernels.h"
#include "kernels/cuda/gpu_memory_holders.h"
#include "kernels/cuda/products/cublas_lt.h"

namespace sparrow {
namespace gpu_cuda {

const GpuKernels& kernel_table();     // gpu_kernel_table.cu
Status check_code_for_this_device();  // cuda_code.cu

}  // namespace gpu_cuda
namespace {

Status to_status(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return ok_status();
  std::string message = fmt::format("{}: {}", what, cudaGetErrorString(error));
  if (error == cudaErrorMemoryAllocation) return resource_exhausted(std::move(message));
  return unavailable(std::move(message));
}

class CudaGraph final : public GpuGraph {
 public:
  explicit CudaGraph(cudaGraphExec_t executable) : executable_(executable) {}
  ~CudaGraph() override { (void)cudaGraphExecDestroy(executable_); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  cudaGraphExec_t executable() const { return executable_; }

 private:
  cudaGraphExec_t executable_;
};

class CudaEvent final : public GpuEvent {
 public:
  explicit CudaEvent(cudaEvent_t event) : event_(event) {}
  ~CudaEvent() override { (void)cudaEventDestroy(event_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;
  cudaEvent_t event() const { return event_; }

 private:
  cudaEvent_t event_;
};

class CudaDevice final : public GpuDevice {
 public:
  CudaDevice(int index, GpuDeviceInfo info, cudaStream_t stream)
      : index_(index), info_(std::move(info)), stream_(stream) {}
  ~CudaDevice() override { (void)cudaStreamDestroy(stream_); }
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  void use_on_this_thread() override { keep(cudaSetDevice(index_), "choosing the GPU"); }
  const GpuDeviceInfo& info() const override { return info_; }
  const GpuKernels& kernels() const override { return gpu_cuda::kernel_table(); }
  GpuStream stream() const override { return {stream_}; }

  Result<void*> allocate(size_t bytes) override {
    void* memory = nullptr;
    const Status status =
        to_status(cudaMalloc(&memory, bytes), fmt::format("{} bytes on the GPU", bytes).c_str());
    if (!status.ok()) {
      (void)cudaGetLastError();  // or the next launch would seem to have failed
      return status;
    }
    return memory;
  }
  void free(void* memory) override { keep(cudaFree(memory), "cudaFree"); }
  Result<void*> allocate_pinned(size_t bytes) override {
    void* memory = nullptr;
    const Status status = to_status(cudaMallocHost(&memory, bytes), "pinned host memory");
    if (!status.ok()) {
      (void)cudaGetLastError();
      return status;
    }
    return memory;
  }
  void free_pinned(void* memory) override { keep(cudaFreeHost(memory), "cudaFreeHost"); }
  Result<int64_t> free_bytes() override {
    size_t free = 0, total = 0;
    RETURN_IF_ERROR(to_status(cudaMemGetInfo(&free, &total), "cudaMemGetInfo"));
    return static_cast<int64_t>(free);
  }

  void copy_to_device(void* device, const void* pinned, size_t bytes) override {
    keep(cudaMemcpyAsync(device, pinned, bytes, cudaMemcpyHostToDevice, stream_),
         "copy to the GPU");
  }
  void copy_to_host(void* pinned, const void* device, size_t bytes) override {
    keep(cudaMemcpyAsync(pinned, device, bytes, cudaMemcpyDeviceToHost, stream_),
         "copy from the GPU");
  }
  void copy_on_device(void* to, const void* from, size_t bytes) override {
    keep(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "copy on the GPU");
  }
  void fill(void* device, uint8_t value, size_t bytes) override {
    keep(cudaMemsetAsync(device, value, bytes, stream_), "fill on the GPU");
  }

  Result<std::unique_ptr<GpuEvent>> create_event() override {
    cudaEvent_t event = nullptr;
    // Waiting sleeps: the engine thread's core has other work.
    const unsigned flags = cudaEventDisableTiming | cudaEventBlockingSync;
    RETURN_IF_ERROR(to_status(cudaEventCreateWithFlags(&event, flags), "cudaEventCreate"));
    return std::unique_ptr<GpuEvent>(std::make_unique<CudaEvent>(event));
  }
  void record(GpuEvent& event) override {
    keep(cudaEventRecord(static_cast<CudaEvent&>(event).event(), stream_), "cudaEventRecord");
  }
  Status wait(GpuEvent& event) override {
    keep(cudaEventSynchronize(static_cast<CudaEvent&>(event).event()), "the GPU's work");
    return first_error();
  }
  Status synchronize() override {
    keep(cudaStreamSynchronize(stream_), "the GPU's work");
    return first_error();
  }

  Status begin_capture() override {
    return forgotten(to_status(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
                               "begin of a CUDA graph"));
  }
  Result<std::unique_ptr<GpuGraph>> end_capture() override;
  void launch(GpuGraph& graph) override {
    keep(cudaGraphLaunch(static_cast<CudaGraph&>(graph).executable(), stream_),
         "launch of a CUDA graph");
  }
  Result<std::unique_ptr<GpuProductLibrary>> open_product_library(
      const std::string& path) override {
    return open_cublas_lt(stream(), path);
  }

 private:
  // What the caller is told of must not come back as the error of a later kernel.
  static Status forgotten(Status status) {
    if (!status.ok()) (void)cudaGetLastError();
    return status;
  }
  void keep(cudaError_t error, const char* what) {
    if (error != cudaSuccess && error_.ok()) error_ = to_status(error, what);
  }
  // Of what was queued until now, launches included. Reported once; a lost device reports again.
  Status first_error() {
    keep(cudaGetLastError(), "a kernel");
    return std::exchange(error_, ok_status());
  }

  const int index_;
  const GpuDeviceInfo info_;
  const cudaStream_t stream_;
  Status error_ = ok_status();
};

Result<std::unique_ptr<GpuGraph>> CudaDevice::end_capture() {
  cudaGraph_t graph = nullptr;
  RETURN_IF_ERROR(
      forgotten(to_status(cudaStreamEndCapture(stream_, &graph), "end of a CUDA graph")));
  cudaGraphExec_t executable = nullptr;
  const Status status =
      to_status(cudaGraphInstantiate(&executable, graph, 0), "making a CUDA graph");
  (void)cudaGraphDestroy(graph);
  RETURN_IF_ERROR(forgotten(status));
  return std::unique_ptr<GpuGraph>(std::make_unique<CudaGraph>(executable));
}

// Needs no context on the card. Empty: CUDA does not say.
std::string pci_bus_id(int index) {
  char id[64] = "";  // 12 characters and the end, by the reference
  if (cudaDeviceGetPCIBusId(id, sizeof(id), index) == cudaSuccess) return id;
  (void)cudaGetLastError();
  return "";
}

Result<GpuDeviceInfo> read_info(int index) {
  cudaDeviceProp properties = {};
  RETURN_IF_ERROR(to_status(cudaGetDeviceProperties(&properties, index), "GPU properties"));
  GpuDeviceInfo info;
  info.name = properties.name;
  info.pci_bus_id = pci_bus_id(index);
  info.compute_major = properties.major;
  info.compute_minor = properties.minor;
  info.num_sms = properties.multiProcessorCount;
  info.l2_bytes = properties.l2CacheSize;
  info.max_shared_bytes_per_block = static_cast<int32_t>(properties.sharedMemPerBlockOptin);
  info.shared_bytes_per_sm = static_cast<int32_t>(properties.sharedMemPerMultiprocessor);
  info.registers_per_sm = properties.regsPerMultiprocessor;
  info.max_threads_per_sm = properties.maxThreadsPerMultiProcessor;
  size_t free = 0, total = 0;
  RETURN_IF_ERROR(to_status(cudaMemGetInfo(&free, &total), "GPU memory"));
  info.total_bytes = static_cast<int64_t>(total);
  info.free_bytes = static_cast<int64_t>(free);
  RETURN_IF_ERROR(to_status(cudaDriverGetVersion(&info.driver_version), "driver version"));
  RETURN_IF_ERROR(to_status(cudaRuntimeGetVersion(&info.runtime_version), "runtime version"));
  return info;
}

Result<std::unique_ptr<GpuDevice>> open_existing(int index) {
  RETURN_IF_ERROR(to_status(cudaSetDevice(index), "choosing the GPU"));
  ASSIGN_OR_RETURN(GpuDeviceInfo info, read_info(index));
  RETURN_IF_ERROR(gpu_cuda::check_code_for_this_device());
  cudaStream_t stream = nullptr;
  RETURN_IF_ERROR(
      to_status(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a CUDA stream"));
  return std::unique_ptr<GpuDevice>(std::make_unique<CudaDevice>(index, std::move(info), stream));
}

}  // namespace

bool has_cuda_support() { return true; }

int num_cuda_devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    (void)cudaGetLastError();
    return 0;
  }
  return count;
}

std::string why_no_cuda_device() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  (void)cudaGetLastError();
  if (error == cudaSuccess) {
    return count > 0 ? "" : "CUDA_VISIBLE_DEVICES leaves no GPU, or there is none";
  }
  if (error == cudaErrorInsufficientDriver) {
    int driver = 0, runtime = 0;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    if (driver == 0) return "no NVIDIA driver is installed (nvidia-smi would show it)";
    return fmt::format("the NVIDIA driver is for CUDA {}.{}, this program needs {}.{} or newer",
                       driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
  }
  return cudaGetErrorString(error);
}

Result<std::unique_ptr<GpuDevice>> open_cuda_device(int index) {
  const int count = num_cuda_devices();
  if (count == 0) return unavailable(fmt::format("no GPU can be used: {}", why_no_cuda_device()));
  if (index < 0 || index >= count) {
    return invalid_argument(fmt::format("GPU {} was asked for, there are {}", index, count));
  }
  Result<std::unique_ptr<GpuDevice>> device = open_existing(index);
  // A full card has no room for a context either.
  if (!device.ok()) return with_memory_holders(device.status(), pci_bus_id(index));
  return device;
}

}  // namespace sparrow
