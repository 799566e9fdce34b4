#pragma once
// MappedTensorSource: the TensorSource of memory-mapped files of either format. Owns the mappings.
// Building it checks that exactly the tensors a config implies are there, with its shapes, and that
// norms and biases are finite (they are small; matrices are checked while they are packed).

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "base/status.h"
#include "model/files/tensor_layout.h"
#include "model/tensor_source.h"

namespace sparrow {

// A tensor as one file has it, under its canonical name.
struct FileTensor {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;   // outermost first
  size_t file = 0;              // index into the files
  uint64_t begin = 0, end = 0;  // bytes of the file, already checked to lie in it
};

// F32, F16 or BF16 from the dtype of a safetensors file.
std::optional<TensorType> plain_tensor_type(std::string_view dtype);
// Tensors that checkpoints carry and nobody needs.
bool is_ignored_tensor(std::string_view name, const ModelConfig& config);
// The tensor in its file, after its shape was checked against the layout and a vector's elements
// for NaN and infinities. `path` names the model in errors.
Result<SourceTensor> checked_view(const FileTensor& tensor, const LayoutTensor& expected,
                                  const std::vector<MappedFile>& files, const std::string& path);
// These bytes of one of the files need not stay resident.
void drop_pages(const std::vector<MappedFile>& files, std::span<const std::byte> bytes);

class MappedTensorSource : public TensorSource {
 public:
  // `path` names the model in errors; `format` is "safetensors" or "GGUF".
  static Result<std::unique_ptr<MappedTensorSource>> create(const ModelConfig& config,
                                                            std::vector<MappedFile> files,
                                                            const std::vector<FileTensor>& tensors,
                                                            const std::string& path,
                                                            std::string format);

  const ModelConfig& config() const override { return config_; }
  bool contains(std::string_view name) const override {
    return tensors_.contains(std::string(name));
  }
  Result<SourceTensor> tensor(std::string_view name) const override;
  void release(const SourceTensor& tensor) const override;
  void release_rows(const SourceTensor& tensor, int64_t row_begin, int64_t num_rows) const override;
  std::string format_name() const override { return format_name_; }

 private:
  MappedTensorSource() = default;

  ModelConfig config_;
  std::vector<MappedFile> files_;
  std::unordered_map<std::string, SourceTensor> tensors_;
  std::string format_name_;
};

// NaN or infinite elements, or scales of quantized blocks: the error names tensor and element. One
// pass over the bytes; packing a quantized matrix checks its scales by itself, so call this for
// what is used as it lies, or to examine a file.
Status validate_tensor(std::string_view name, const SourceTensor& tensor);

}  // namespace sparrow
