#include "model/files/quantized_tensor_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "base/check.h"
#include "model/files/mapped_tensor_source.h"
#include "model/files/printable.h"
#include "model/files/tensor_layout.h"

namespace sparrow {
namespace {

const char* weights_suffix(QuantizationLayout layout) {
  switch (layout) {
    case QuantizationLayout::kAwq:
    case QuantizationLayout::kGptq:
      return ".qweight";
    case QuantizationLayout::kPacked:
      return ".weight_packed";
    case QuantizationLayout::kInt8:
      return ".weight";
  }
  return ".weight";
}

// Looks tensors up, checks what it hands out and remembers it: what is left over at the end does
// not belong to the model.
class TensorFinder {
 public:
  TensorFinder(const std::vector<MappedFile>& files, const std::vector<StoredTensor>& tensors,
               const std::string& path)
      : files_(files), tensors_(tensors), path_(path) {
    for (const StoredTensor& tensor : tensors) by_name_.emplace(tensor.name, &tensor);
  }

  const StoredTensor* find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : found->second;
  }

  // A tensor that must be there, with one of `dtypes` and exactly this shape.
  Result<const StoredTensor*> claim(const std::string& name,
                                    std::initializer_list<std::string_view> dtypes,
                                    std::vector<int64_t> shape) {
    const StoredTensor* tensor = find(name);
    if (tensor == nullptr) return data_loss(fmt::format("{}: tensor {} is missing", path_, name));
    if (std::find(dtypes.begin(), dtypes.end(), tensor->dtype) == dtypes.end()) {
      return unimplemented(fmt::format("{}: tensor {}: found dtype {}, expected {}", path_, name,
                                       tensor->dtype, fmt::join(dtypes, ", ")));
    }
    if (tensor->shape != shape) {
      return data_loss(fmt::format(
          "{}: tensor {}: shape: found [{}], expected [{}] as config and quantization_config say",
          path_, name, fmt::join(tensor->shape, ", "), fmt::join(shape, ", ")));
    }
    claimed_.insert(tensor);
    return tensor;
  }

  Result<SourceTensor> claim_plain(const LayoutTensor& expected) {
    const StoredTensor* tensor = find(expected.name);
    if (tensor == nullptr) {
      return data_loss(fmt::format("{}: tensor {} is missing", path_, expected.name));
    }
    const std::optional<TensorType> type = plain_tensor_type(tensor->dtype);
    if (!type.has_value()) {
      return unimplemented(fmt::format("{}: tensor {}: found dtype {}, expected BF16, F16 or F32",
                                       path_, expected.name, tensor->dtype));
    }
    claimed_.insert(tensor);
    return checked_view(
        {tensor->name, *type, tensor->shape, tensor->file, tensor->begin, tensor->end}, expected,
        files_, path_);
  }

  std::span<const std::byte> bytes_of(const StoredTensor& tensor) const {
    return files_[tensor.file].bytes().subspan(tensor.begin, tensor.end - tensor.begin);
  }

  Status check_rest(const ModelConfig& config,
                    const std::unordered_set<std::string>& module_names) const {
    for (const StoredTensor& tensor : tensors_) {
      if (claimed_.contains(&tensor) || is_ignored_tensor(tensor.name, config)) continue;
      // GPTQ writers give every module a bias; where the model has none it must be zero.
      const std::string_view name = tensor.name;
      if (name.ends_with(".bias") &&
          module_names.contains(std::string(name.substr(0, name.size() - 5))) &&
          plain_tensor_type(tensor.dtype).has_value()) {
        const auto bytes = bytes_of(tensor);
        if (std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{}; })) {
          continue;
        }
      }
      return unimplemented(
          fmt::format("{}: tensor {} does not belong to a Qwen2 model of {} layers in this "
                      "quantization",
                      path_, printable(tensor.name), config.num_layers));
    }
    return ok_status();
  }

 private:
  const std::vector<MappedFile>& files_;
  const std::vector<StoredTensor>& tensors_;
  const std::string& path_;
  std::unordered_map<std::string, const StoredTensor*> by_name_;
  std::unordered_set<const StoredTensor*> claimed_;
};

// The tensors of one quantized module.
class MatrixReader {
 public:
  MatrixReader(TensorFinder& finder, const QuantizationScheme& scheme, const std::string& path)
      : finder_(finder), scheme_(scheme), path_(path) {}

  Result<QuantizedMatrix> read(const std::string& module, int64_t rows, int64_t cols) {
    QuantizedMatrix matrix;
    matrix.layout = scheme_.layout;
    matrix.bits = scheme_.bits;
    matrix.zeros_minus_one = scheme_.zeros_minus_one;
    matrix.rows = rows;
    matrix.cols = cols;
    matrix.group_size = scheme_.group_size < 0 ? cols : scheme_.group_size;
    if (cols % matrix.group_size != 0 || matrix.group_size % 32 != 0) {
      return unimplemented(fmt::format(
          "{}: {}: rows of {} inputs do not divide into groups of {}; expected whole groups of a "
          "multiple of 32",
          path_, module, cols, matrix.group_size));
    }
    const bool outputs_innermost =
        scheme_.layout == QuantizationLayout::kAwq || scheme_.layout == QuantizationLayout::kGptq;
    if (outputs_innermost && rows % 8 != 0) {
      return unimplemented(
          fmt::format("{}: {}: found {} outputs, expected a multiple of 8", path_, module, rows));
    }
    RETURN_IF_ERROR(outputs_innermost ? read_columns(module, matrix) : read_rows(module, matrix));
    matrix.is_q4_0 = has_q4_0_values(matrix);
    return matrix;
  }

 private:
  // AWQ and GPTQ: outputs innermost.
  Status read_columns(const std::string& module, QuantizedMatrix& matrix) {
    const int64_t groups = matrix.num_groups(), per_word = 32 / scheme_.bits;
    const std::vector<int64_t> shape = scheme_.layout == QuantizationLayout::kAwq
                                           ? std::vector{matrix.cols, matrix.rows / 8}
                                           : std::vector{matrix.cols / per_word, matrix.rows};
    ASSIGN_OR_RETURN(matrix.weights, claim(module + ".qweight", {"I32"}, shape));
    ASSIGN_OR_RETURN(matrix.zeros,
                     claim(module + ".qzeros", {"I32"}, {groups, matrix.rows / per_word}));
    matrix.free_zeros = has_free_zeros(matrix);
    RETURN_IF_ERROR(read_scales(module + ".scales", {groups, matrix.rows}, matrix));
    if (scheme_.layout == QuantizationLayout::kAwq) return ok_status();
    const std::string g_idx = module + ".g_idx";
    if (!scheme_.act_order && finder_.find(g_idx) == nullptr) return ok_status();
    return read_groups(g_idx, matrix);
  }

  // compressed-tensors: inputs innermost.
  Status read_rows(const std::string& module, QuantizedMatrix& matrix) {
    const int64_t groups = matrix.num_groups(), rows = matrix.rows, cols = matrix.cols;
    if (scheme_.layout == QuantizationLayout::kInt8) {
      ASSIGN_OR_RETURN(matrix.weights, claim(module + ".weight", {"I8"}, {rows, cols}));
    } else {
      const int64_t per_word = 32 / scheme_.bits;
      ASSIGN_OR_RETURN(matrix.weights,
                       claim(module + ".weight_packed", {"I32"}, {rows, cols / per_word}));
      RETURN_IF_ERROR(check_weight_shape(module + ".weight_shape", rows, cols));
    }
    if (scheme_.has_zero_points) {
      ASSIGN_OR_RETURN(matrix.zeros,
                       claim(module + ".weight_zero_point", {"I32"}, {(rows + 7) / 8, groups}));
    }
    RETURN_IF_ERROR(read_scales(module + ".weight_scale", {rows, groups}, matrix));
    return scheme_.act_order ? read_groups(module + ".weight_g_idx", matrix) : ok_status();
  }

  Result<std::span<const std::byte>> claim(const std::string& name,
                                           std::initializer_list<std::string_view> dtypes,
                                           const std::vector<int64_t>& shape) {
    ASSIGN_OR_RETURN(const StoredTensor* tensor, finder_.claim(name, dtypes, shape));
    return finder_.bytes_of(*tensor);
  }

  Status read_scales(const std::string& name, const std::vector<int64_t>& shape,
                     QuantizedMatrix& matrix) {
    ASSIGN_OR_RETURN(const StoredTensor* tensor,
                     finder_.claim(name, {"F16", "BF16", "F32"}, shape));
    matrix.scales = finder_.bytes_of(*tensor);
    matrix.scale_type = *plain_tensor_type(tensor->dtype);
    return ok_status();
  }

  Status check_weight_shape(const std::string& name, int64_t rows, int64_t cols) {
    ASSIGN_OR_RETURN(const StoredTensor* tensor, finder_.claim(name, {"I64", "I32"}, {2}));
    const std::byte* bytes = finder_.bytes_of(*tensor).data();
    int64_t found[2] = {};
    for (size_t i = 0; i < 2; ++i) {
      int32_t narrow;
      if (tensor->dtype == "I64") {
        std::memcpy(&found[i], bytes + i * 8, 8);
      } else {
        std::memcpy(&narrow, bytes + i * 4, 4);
        found[i] = narrow;
      }
    }
    if (found[0] == rows && found[1] == cols) return ok_status();
    return data_loss(fmt::format("{}: tensor {}: found [{}, {}], expected [{}, {}]", path_, name,
                                 found[0], found[1], rows, cols));
  }

  Status read_groups(const std::string& name, QuantizedMatrix& matrix) {
    ASSIGN_OR_RETURN(const auto bytes, claim(name, {"I32"}, {matrix.cols}));
    std::vector<int32_t> groups(static_cast<size_t>(matrix.cols));
    std::memcpy(groups.data(), bytes.data(), bytes.size());
    bool in_order = true;
    for (size_t k = 0; k < groups.size(); ++k) {
      if (groups[k] < 0 || groups[k] >= matrix.num_groups()) {
        return data_loss(fmt::format("{}: tensor {}: element {}: found group {}, expected 0 to {}",
                                     path_, name, k, groups[k], matrix.num_groups() - 1));
      }
      in_order = in_order && groups[k] == static_cast<int64_t>(k) / matrix.group_size;
    }
    if (!in_order) matrix.group_of_input = std::move(groups);
    return ok_status();
  }

  TensorFinder& finder_;
  const QuantizationScheme& scheme_;
  const std::string& path_;
};

constexpr std::string_view kWeight = ".weight";

}  // namespace

Result<std::unique_ptr<QuantizedTensorSource>> QuantizedTensorSource::create(
    const ModelConfig& config, const QuantizationScheme& scheme, std::vector<MappedFile> files,
    const std::vector<StoredTensor>& tensors, const std::string& path) {
  std::unique_ptr<QuantizedTensorSource> source(new QuantizedTensorSource());
  TensorFinder finder(files, tensors, path);
  MatrixReader reader(finder, scheme, path);
  std::unordered_set<std::string> modules;
  for (const LayoutTensor& expected : qwen2_tensor_layout(config)) {
    const std::string module = expected.name.substr(0, expected.name.size() - kWeight.size());
    const std::string packed_name = module + weights_suffix(scheme.layout);
    const StoredTensor* packed = finder.find(packed_name);
    const StoredTensor* plain = finder.find(expected.name);
    const bool may_be_quantized =
        !expected.is_vector && expected.name != "model.embed_tokens.weight";
    if (may_be_quantized) modules.insert(module);
    if (may_be_quantized && packed == nullptr && plain == nullptr) {
      return data_loss(
          fmt::format("{}: tensor {} is missing, and so is {}", path, packed_name, expected.name));
    }
    const bool is_plain = plain != nullptr && plain_tensor_type(plain->dtype).has_value();
    if (!may_be_quantized || packed == nullptr || (packed == plain && is_plain)) {
      ASSIGN_OR_RETURN(const SourceTensor view, finder.claim_plain(expected));
      source->plain_.emplace(expected.name, view);
      continue;
    }
    if (plain != nullptr && plain != packed) {
      return data_loss(fmt::format("{}: found both {} and {}, expected one of them", path,
                                   packed_name, expected.name));
    }
    if (scheme.lists_as_plain(module)) {
      return data_loss(fmt::format(
          "{}: quantization_config says that {} is not quantized, but the file holds {}", path,
          module, packed_name));
    }
    ASSIGN_OR_RETURN(QuantizedMatrix matrix, reader.read(module, expected.rows, expected.cols));
    if (!matrix.group_of_input.empty()) ++source->num_act_order_;
    if (matrix.becomes_floats()) ++source->num_floats_;
    source->quantized_.emplace(expected.name, std::move(matrix));
  }
  if (source->quantized_.empty()) {
    return data_loss(
        fmt::format("{}: quantization_config says {}, but no matrix is quantized: no "
                    "tensor model.layers.*{} was found",
                    path, scheme.method, weights_suffix(scheme.layout)));
  }
  RETURN_IF_ERROR(finder.check_rest(config, modules));
  source->config_ = config;
  const char* note = source->num_act_order_ > 0 ? " in activation order, held as F32"
                     : source->num_floats_ > 0  ? " with zero points, held as F32"
                                                : "";
  source->format_name_ = fmt::format("safetensors {}{}", scheme.text(), note);
  source->files_ = std::move(files);
  return source;
}

bool QuantizedTensorSource::contains(std::string_view name) const {
  return plain_.contains(std::string(name)) || quantized_.contains(std::string(name));
}

Result<SourceTensor> QuantizedTensorSource::describe(std::string_view name) const {
  const auto plain = plain_.find(std::string(name));
  if (plain != plain_.end()) return plain->second;
  const auto found = quantized_.find(std::string(name));
  if (found == quantized_.end()) {
    return not_found(fmt::format("no tensor named {}", printable(name)));
  }
  SourceTensor view;
  view.type = found->second.block_type();
  view.rows = found->second.rows;
  view.cols = found->second.cols;
  view.one_scale_per_row = found->second.one_scale_per_row();
  return view;
}

Result<SourceTensor> QuantizedTensorSource::tensor(std::string_view name) const {
  ASSIGN_OR_RETURN(SourceTensor view, describe(name));
  const auto found = quantized_.find(std::string(name));
  if (found == quantized_.end()) return view;
  const QuantizedMatrix& matrix = found->second;
  std::vector<std::byte> buffer = std::move(spare_);
  spare_.clear();
  buffer.resize(tensor_row_bytes(view.type, view.cols) * static_cast<size_t>(view.rows));
  convert_matrix(matrix, buffer.data());
  for (const auto& bytes : {matrix.weights, matrix.zeros, matrix.scales}) {
    drop_pages(files_, bytes);
  }
  view.bytes = buffer;
  converted_.emplace(buffer.data(), std::move(buffer));
  return view;
}

void QuantizedTensorSource::release(const SourceTensor& tensor) const {
  const auto found = converted_.find(tensor.bytes.data());
  if (found == converted_.end()) return drop_pages(files_, tensor.bytes);
  if (found->second.capacity() > spare_.capacity()) spare_ = std::move(found->second);
  converted_.erase(found);
}

void QuantizedTensorSource::release_rows(const SourceTensor& tensor, int64_t row_begin,
                                         int64_t num_rows) const {
  if (converted_.contains(tensor.bytes.data())) return;  // one buffer, free when all is packed
  drop_pages(files_, tensor.row_span(row_begin, num_rows));
}

}  // namespace sparrow
