#pragma once
// GpuProductLibrary: products of plain 16-bit matrices by a library of the card's vendor (on NVIDIA
// cards cuBLASLt), as another way beside our own kernels (gpu_linear.h). The library knows several
// ways to compute a shape; which is fastest only trying shows (model/cuda/product_trials.h).
//
//   for (auto& plan : library.find(product, 4)) {
//     Status status = plan->queue({w, x, bias, out});    // on the device's stream
//   }
//
// Calls come from the device's thread. A plan may be captured into a graph. Everything is destroyed
// before its device.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "kernels/cuda/gpu_types.h"

namespace sparrow {

// out[t][r] = sum over k of x[t][k] * W[r][k] (+ bias[r]); fp32 sums. All rows lie without gaps.
struct GpuProduct {
  int32_t rows = 0;                 // of W: outputs
  int32_t cols = 0;                 // inputs
  int32_t num_x_rows = 0;           // t
  GpuFloat type = GpuFloat::kBF16;  // of W and x
  bool has_f32_out = true;          // else out has the type of x
  bool has_bias = false;
  bool add_to_out = false;  // the sum is added to what lies in out, which is fp32

  bool operator==(const GpuProduct&) const = default;
};

// Device memory, each aligned to 256 bytes.
struct GpuProductOperands {
  const void* weights = nullptr;  // [rows][cols]
  const void* x = nullptr;        // [num_x_rows][cols]
  const float* bias = nullptr;    // [rows], with has_bias
  void* out = nullptr;            // [num_x_rows][rows]
};

class GpuProductPlan {
 public:
  virtual ~GpuProductPlan() = default;
  // An error has queued nothing.
  virtual Status queue(const GpuProductOperands& operands) = 0;
};

class GpuProductLibrary {
 public:
  virtual ~GpuProductLibrary() = default;
  virtual const std::string& name() const = 0;  // "cuBLASLt 13.1.2"
  // Memory on the device that plans found from now on may use, shared by all of them.
  virtual void set_workspace(void* memory, size_t bytes) = 0;
  // At most `most` ways to compute it, by the library's own guess; none: it cannot.
  virtual std::vector<std::unique_ptr<GpuProductPlan>> find(const GpuProduct& product,
                                                            int most) = 0;
};

}  // namespace sparrow
