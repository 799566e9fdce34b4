#include "model/cuda/plans/shape_tensor_source.h"

#include <fmt/format.h>

namespace sparrow {

ShapeTensorSource::ShapeTensorSource(const ModelConfig& config, TensorType matrix_type)
    : config_(config), matrix_type_(matrix_type) {
  for (const LayoutTensor& tensor : qwen2_tensor_layout(config)) tensors_[tensor.name] = tensor;
}

Result<SourceTensor> ShapeTensorSource::tensor(std::string_view name) const {
  return failed_precondition(fmt::format("tensor \"{}\" has a shape, but no values", name));
}

Result<SourceTensor> ShapeTensorSource::describe(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return not_found(fmt::format("no tensor \"{}\"", name));
  SourceTensor tensor;
  tensor.type = found->second.is_vector ? TensorType::kF32 : matrix_type_;
  tensor.rows = found->second.rows;
  tensor.cols = found->second.cols;
  return tensor;
}

std::string ShapeTensorSource::format_name() const {
  return fmt::format("shapes of {}", tensor_type_info(matrix_type_).name);
}

}  // namespace sparrow
