#pragma once
// ShapeTensorSource: a TensorSource that describes the tensors of a model without having them, for
// plans of models that are not at hand. describe() works, tensor() is an error. Thread-safe.

#include <map>
#include <string>
#include <string_view>

#include "model/files/tensor_layout.h"
#include "model/tensor_source.h"

namespace sparrow {

class ShapeTensorSource : public TensorSource {
 public:
  // All matrices are of matrix_type, vectors F32.
  explicit ShapeTensorSource(const ModelConfig& config, TensorType matrix_type = TensorType::kBF16);

  const ModelConfig& config() const override { return config_; }
  bool contains(std::string_view name) const override {
    return tensors_.find(name) != tensors_.end();
  }
  Result<SourceTensor> tensor(std::string_view name) const override;
  Result<SourceTensor> describe(std::string_view name) const override;
  void release(const SourceTensor& /*tensor*/) const override {}
  std::string format_name() const override;

 private:
  const ModelConfig config_;
  const TensorType matrix_type_;
  std::map<std::string, LayoutTensor, std::less<>> tensors_;
};

}  // namespace sparrow
