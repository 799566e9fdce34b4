#pragma once
// QuantizedTensorSource: the TensorSource of an AWQ, GPTQ or compressed-tensors checkpoint. Owns
// the mappings. Building it finds the tensors behind every canonical name and checks dtypes, shapes
// and group lists against config and scheme; a matrix is converted (quantized_matrix.h) when it is
// asked for, into a buffer that lives until release(). A matrix that has a plain weight is plain.
//
// Single thread. Errors are one line: file, tensor, found, expected.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "base/status.h"
#include "model/files/hf_quantization.h"
#include "model/files/quantized_matrix.h"
#include "model/tensor_source.h"

namespace sparrow {

// A tensor as a safetensors file has it.
struct StoredTensor {
  std::string name;
  std::string dtype;            // "I32"
  std::vector<int64_t> shape;   // outermost first
  size_t file = 0;              // index into the files
  uint64_t begin = 0, end = 0;  // bytes of the file, already checked to lie in it
};

class QuantizedTensorSource : public TensorSource {
 public:
  // `path` names the model in errors.
  static Result<std::unique_ptr<QuantizedTensorSource>> create(
      const ModelConfig& config, const QuantizationScheme& scheme, std::vector<MappedFile> files,
      const std::vector<StoredTensor>& tensors, const std::string& path);

  const ModelConfig& config() const override { return config_; }
  bool contains(std::string_view name) const override;
  Result<SourceTensor> tensor(std::string_view name) const override;
  Result<SourceTensor> describe(std::string_view name) const override;
  void release(const SourceTensor& tensor) const override;
  void release_rows(const SourceTensor& tensor, int64_t row_begin, int64_t num_rows) const override;
  std::string format_name() const override { return format_name_; }
  // Matrices that had to become F32, and those of them whose inputs are assigned to groups freely;
  // the others have 8-bit zero points that are not the middle.
  int num_floats() const { return num_floats_; }
  int num_act_order() const { return num_act_order_; }

 private:
  QuantizedTensorSource() = default;

  ModelConfig config_;
  std::vector<MappedFile> files_;
  std::unordered_map<std::string, SourceTensor> plain_;
  std::unordered_map<std::string, QuantizedMatrix> quantized_;
  std::string format_name_;
  int num_act_order_ = 0;
  int num_floats_ = 0;
  // Converted tensors that were not released yet, by address, and one buffer to use again.
  mutable std::map<const std::byte*, std::vector<std::byte>> converted_;
  mutable std::vector<std::byte> spare_;
};

}  // namespace sparrow
