#include "model/files/mapped_tensor_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "model/files/printable.h"
#include "model/files/tensor_layout.h"
#include "quant/convert_row.h"

namespace sparrow {
namespace {

Status check_shape(const FileTensor& tensor, const LayoutTensor& expected,
                   const std::string& path) {
  const std::vector<int64_t> shape = expected.is_vector
                                         ? std::vector<int64_t>{expected.cols}
                                         : std::vector<int64_t>{expected.rows, expected.cols};
  if (tensor.shape == shape) return ok_status();
  return data_loss(fmt::format("{}: tensor {}: shape: found [{}], expected [{}] as the config says",
                               path, tensor.name, fmt::join(tensor.shape, ", "),
                               fmt::join(shape, ", ")));
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

std::optional<TensorType> plain_tensor_type(std::string_view dtype) {
  if (dtype == "BF16") return TensorType::kBF16;
  if (dtype == "F16") return TensorType::kF16;
  if (dtype == "F32") return TensorType::kF32;
  return std::nullopt;
}

bool is_ignored_tensor(std::string_view name, const ModelConfig& config) {
  // Old checkpoints carry the table of rotary frequencies; it follows from rope_theta.
  return name.ends_with(".rotary_emb.inv_freq") ||
         (config.tied_embeddings && name == "lm_head.weight");
}

Status validate_tensor(std::string_view name, const SourceTensor& tensor) {
  const int64_t element = first_non_finite(tensor.type, tensor.bytes);
  if (element < 0) return ok_status();
  return data_loss(fmt::format("tensor {}: element {}: found NaN or infinity, expected a number",
                               printable(name), element));
}

Result<SourceTensor> checked_view(const FileTensor& tensor, const LayoutTensor& expected,
                                  const std::vector<MappedFile>& files, const std::string& path) {
  RETURN_IF_ERROR(check_shape(tensor, expected, path));
  CHECK(tensor.file < files.size() && tensor.begin <= tensor.end &&
        tensor.end <= files[tensor.file].size_bytes());
  SourceTensor view;
  view.type = tensor.type;
  view.rows = expected.rows;
  view.cols = expected.cols;
  view.bytes = files[tensor.file].bytes().subspan(tensor.begin, tensor.end - tensor.begin);
  CHECK(view.bytes.size() ==
        tensor_row_bytes(view.type, view.cols) * static_cast<size_t>(view.rows));
  if (expected.is_vector) {
    if (tensor_type_info(view.type).block_elements != 1) {
      return data_loss(fmt::format("{}: tensor {}: found type {}, expected F32, F16 or BF16", path,
                                   tensor.name, tensor_type_info(view.type).name));
    }
    const Status finite = validate_tensor(expected.name, view);
    if (!finite.ok()) return data_loss(fmt::format("{}: {}", path, finite.message()));
  }
  return view;
}

Result<std::unique_ptr<MappedTensorSource>> MappedTensorSource::create(
    const ModelConfig& config, std::vector<MappedFile> files,
    const std::vector<FileTensor>& tensors, const std::string& path, std::string format) {
  std::unordered_map<std::string_view, const FileTensor*> by_name;
  for (const FileTensor& tensor : tensors) by_name.emplace(tensor.name, &tensor);

  std::unique_ptr<MappedTensorSource> source(new MappedTensorSource());
  std::map<TensorType, int64_t> values_by_type;  // of matrices
  for (const LayoutTensor& expected : qwen2_tensor_layout(config)) {
    const auto found = by_name.find(expected.name);
    if (found == by_name.end()) {
      const bool gguf = format == "GGUF";
      return data_loss(
          fmt::format("{}: tensor {} is missing", path, gguf ? expected.gguf_name : expected.name));
    }
    const FileTensor& tensor = *found->second;
    ASSIGN_OR_RETURN(const SourceTensor view, checked_view(tensor, expected, files, path));
    if (!expected.is_vector) values_by_type[view.type] += expected.rows * expected.cols;
    source->tensors_.emplace(expected.name, view);
  }
  for (const FileTensor& tensor : tensors) {
    if (!source->tensors_.contains(tensor.name) && !is_ignored_tensor(tensor.name, config)) {
      return unimplemented(
          fmt::format("{}: tensor {} does not belong to a Qwen2 model of {} layers", path,
                      printable(tensor.name), config.num_layers));
    }
  }
  source->config_ = config;
  source->files_ = std::move(files);
  // Files of quantized types are mixes: named is the type that most values have.
  const auto most =
      std::max_element(values_by_type.begin(), values_by_type.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  source->format_name_ = fmt::format("{} {}", format, upper(tensor_type_info(most->first).name));
  return source;
}

Result<SourceTensor> MappedTensorSource::tensor(std::string_view name) const {
  const auto found = tensors_.find(std::string(name));
  if (found == tensors_.end()) return not_found(fmt::format("no tensor named {}", printable(name)));
  return found->second;
}

void MappedTensorSource::release(const SourceTensor& tensor) const {
  drop_pages(files_, tensor.bytes);
}

void MappedTensorSource::release_rows(const SourceTensor& tensor, int64_t row_begin,
                                      int64_t num_rows) const {
  drop_pages(files_, tensor.row_span(row_begin, num_rows));
}

void drop_pages(const std::vector<MappedFile>& files, std::span<const std::byte> bytes) {
  for (const MappedFile& file : files) {
    const std::byte* begin = file.bytes().data();
    if (bytes.data() >= begin && bytes.data() < begin + file.size_bytes()) return file.drop(bytes);
  }
}

}  // namespace sparrow
