#pragma once
// cuBLASLt as a GpuProductLibrary. It is opened by name when a card is used, never linked: without
// it our own kernels compute everything, slower for many rows.

#include <memory>
#include <string>

#include "base/status.h"
#include "kernels/cuda/gpu_stream.h"
#include "kernels/cuda/product_library.h"

namespace sparrow {

// `path`: a file, or empty for the usual names and places. The card is the calling thread's.
// Errors:
//   kUnavailable  no such library, or it does not start; the message says which were tried
Result<std::unique_ptr<GpuProductLibrary>> open_cublas_lt(GpuStream stream,
                                                          const std::string& path);

}  // namespace sparrow
