#pragma once
// TensorSource: where an executor pulls its weights from, one tensor at a time, by canonical name
// (that of the Hugging Face checkpoint: "model.layers.3.self_attn.q_proj.weight"). The source has
// already checked names, shapes and byte ranges against the config. Reading is single-threaded.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "model/model_config.h"
#include "quant/tensor_type.h"

namespace sparrow {

// A view of one tensor, as it lies in the file or converted: row-major, each row rows x cols/block
// blocks. Bytes may be unaligned: copy or load unaligned. Valid until release() or the source dies.
struct SourceTensor {
  TensorType type = TensorType::kF32;
  int64_t rows = 1;  // 1 for vectors (norms, biases)
  int64_t cols = 0;  // row length = inputs of a matrix
  std::span<const std::byte> bytes;
  bool one_scale_per_row = false;  // blocks of 8-bit groups that all carry the scale of their row

  size_t row_bytes() const { return static_cast<size_t>(bytes.size() / static_cast<size_t>(rows)); }
  std::span<const std::byte> row_span(int64_t row_begin, int64_t num_rows) const {
    return bytes.subspan(static_cast<size_t>(row_begin) * row_bytes(),
                         static_cast<size_t>(num_rows) * row_bytes());
  }
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const ModelConfig& config() const = 0;
  virtual bool contains(std::string_view name) const = 0;
  // Fails for an unknown name; never for a name that contains() knows, except for a read error.
  virtual Result<SourceTensor> tensor(std::string_view name) const = 0;
  // Type and shape alone: `bytes` may be empty. Cheap where tensor() has to convert.
  virtual Result<SourceTensor> describe(std::string_view name) const { return tensor(name); }
  // The executor has packed this tensor: its pages need not stay resident.
  virtual void release(const SourceTensor& tensor) const = 0;
  // The same for some rows of it, before the rest is packed; from any thread. The tensor must be
  // released all the same.
  virtual void release_rows(const SourceTensor& /*tensor*/, int64_t /*row_begin*/,
                            int64_t /*num_rows*/) const {}
  // One line for the log: "safetensors BF16", "GGUF Q8_0".
  virtual std::string format_name() const = 0;
};

}  // namespace sparrow
