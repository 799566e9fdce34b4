#pragma once
// ScaleSearch: the factors of one kind of input (channel_scales.h) from its statistics. See
// calibrate_channels.h for what is searched and why. One calling thread; all of a pool.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/compute_pool.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include "model/tensor_source.h"
#include "quant/tensor_type.h"
#include "tools/quantize/channel_scales.h"

namespace sparrow {

// Of one kind of input of one layer.
struct InputStatistics {
  std::vector<double> squares;  // [inputs]: sum over all tokens
  std::vector<float> samples;   // [num_samples][inputs]
  int64_t num_tokens = 0;
  int64_t num_samples = 0;

  int64_t num_inputs() const { return static_cast<int64_t>(squares.size()); }
};

// A matrix that reads the input, and what it becomes.
struct SearchedMatrix {
  std::string name;
  TensorType type = TensorType::kI4G128;  // grouped integers
};

// A vector that is divided by the factors and kept in a 16-bit type.
struct DividedVector {
  std::vector<float> values;  // empty: there is none
  TensorType stored = TensorType::kBF16;
};

// Inputs i and j share a factor where shared[i] == shared[j]; vector element shared[i] belongs to
// them. Empty: each has its own.
using SharedInputs = std::vector<int64_t>;

class ScaleSearch {
 public:
  // `scale_type` of the integers' scales. `between` is called between steps of the search: an error
  // ends it.
  ScaleSearch(const TensorSource& source, TensorType scale_type, const Kernels& kernels,
              ComputePool& pool, std::function<Status()> between);

  Result<InputScales> search(const std::vector<SearchedMatrix>& matrices,
                             const InputStatistics& statistics, const SharedInputs& shared,
                             const DividedVector& vector);
  // Bytes that a search over matrices of this many inputs holds, the statistics aside.
  static int64_t memory_bytes(int64_t num_inputs, int64_t num_matrices);

 private:
  struct Sample;  // of a matrix: rows, and what they give
  Result<Sample> take_sample(const SearchedMatrix& matrix, const InputStatistics& statistics);
  Result<double> error_of(std::vector<Sample>& samples, const InputStatistics& statistics,
                          const std::vector<float>& factor, const std::vector<float>& importance);

  const TensorSource& source_;
  const TensorType scale_type_;
  const Kernels& kernels_;
  ComputePool& pool_;
  const std::function<Status()> between_;
};

// One row as a file of this type holds it: `out` bytes of `type`, scales of `scale_type`.
// `importance` as search_int4_groups, or null.
void quantize_grouped_row(TensorType type, TensorType scale_type, const float* values,
                          const float* importance, int64_t cols, std::byte* out);

}  // namespace sparrow
