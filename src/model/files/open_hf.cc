#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "model/files/config_fields.h"
#include "model/files/format_readers.h"
#include "model/files/hf_config.h"
#include "model/files/hf_quantization.h"
#include "model/files/mapped_tensor_source.h"
#include "model/files/printable.h"
#include "model/files/quantized_tensor_source.h"
#include "model/files/safetensors_header.h"

namespace sparrow {
namespace {

namespace json = boost::json;

constexpr JsonLimits kIndexLimits = {.max_bytes = 32u << 20, .max_depth = 8};
constexpr JsonLimits kSmallJson = {.max_bytes = 4u << 20, .max_depth = 32};
constexpr size_t kMaxTemplateBytes = 1u << 20;
constexpr size_t kMaxShards = 1024;

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// Tensor name -> file name inside the directory. One unnamed entry: every tensor of that file.
using WeightMap = std::map<std::string, std::string>;

// A shard is a plain name beside the index: nothing in a downloaded file may lead elsewhere, or
// break the line of an error that names it.
bool is_plain_file_name(std::string_view name) {
  constexpr size_t kMaxNameBytes = 255;
  const bool plain = std::none_of(name.begin(), name.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f || byte == '/';
  });
  return plain && !name.empty() && name != "." && name != ".." && name.size() <= kMaxNameBytes;
}

Result<WeightMap> read_index(const std::string& path) {
  ASSIGN_OR_RETURN(const json::value index, parse_json_file(path, kIndexLimits));
  if (!index.is_object()) return data_loss(path + ": expected a JSON object");
  const ConfigFields fields(index.get_object(), path);
  const json::value* map = fields.find("weight_map");
  if (map == nullptr || !map->is_object()) return fields.wrong("weight_map", "an object");
  WeightMap weights;
  for (const auto& [name, file] : map->get_object()) {
    const json::string* text = file.if_string();
    if (text == nullptr || !is_plain_file_name({text->data(), text->size()})) {
      return data_loss(
          fmt::format("{}: weight_map: {}: found {}, expected the name of a file "
                      "beside it",
                      path, printable({name.data(), name.size()}), printable_json(file)));
    }
    weights.emplace(std::string(name), std::string(text->data(), text->size()));
  }
  return weights;
}

class WeightFiles {
 public:
  explicit WeightFiles(std::string directory) : directory_(std::move(directory)) {}

  Status add_single(const std::string& name) { return add_file(name, nullptr); }

  Status add_index(const std::string& index_path) {
    ASSIGN_OR_RETURN(const WeightMap weights, read_index(index_path));
    std::vector<std::string> names;
    for (const auto& [tensor, file] : weights) names.push_back(file);
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    if (names.empty() || names.size() > kMaxShards) {
      return data_loss(fmt::format("{}: weight_map: found {} files, expected 1 to {}", index_path,
                                   names.size(), kMaxShards));
    }
    for (const std::string& name : names) RETURN_IF_ERROR(add_file(name, &weights));
    if (tensors_.size() != weights.size()) {
      return data_loss(fmt::format("{}: weight_map: names {} tensors, its files hold {} of them",
                                   index_path, weights.size(), tensors_.size()));
    }
    return ok_status();
  }

  std::vector<MappedFile> take_files() { return std::move(files_); }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }
  const std::string& path_of(const StoredTensor& tensor) const {
    return files_[tensor.file].path();
  }

 private:
  // With an index, a file holds exactly the tensors the index puts there.
  Status add_file(const std::string& name, const WeightMap* weights) {
    const std::string path = directory_ + "/" + name;
    ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
    ASSIGN_OR_RETURN(const auto entries, parse_safetensors_header(file.bytes(), path));
    for (const SafetensorsEntry& entry : entries) {
      if (weights != nullptr) {
        const auto found = weights->find(entry.name);
        if (found == weights->end() || found->second != name) {
          return data_loss(fmt::format("{}: tensor {}: the index does not put it into this file",
                                       path, printable(entry.name)));
        }
      }
      tensors_.push_back(
          {entry.name, entry.dtype, entry.shape, files_.size(), entry.begin, entry.end});
    }
    files_.push_back(std::move(file));
    return ok_status();
  }

  const std::string directory_;
  std::vector<MappedFile> files_;
  std::vector<StoredTensor> tensors_;
};

Result<std::unique_ptr<TensorSource>> open_plain_weights(const ModelConfig& config,
                                                         WeightFiles& weights,
                                                         const std::string& directory) {
  std::vector<FileTensor> tensors;
  for (const StoredTensor& tensor : weights.tensors()) {
    const std::optional<TensorType> type = plain_tensor_type(tensor.dtype);
    if (!type.has_value()) {
      return unimplemented(
          fmt::format("{}: tensor {}: dtype {} is not supported without a quantization_config in "
                      "config.json; supported: BF16, F16, F32",
                      weights.path_of(tensor), printable(tensor.name), tensor.dtype));
    }
    tensors.push_back({tensor.name, *type, tensor.shape, tensor.file, tensor.begin, tensor.end});
  }
  ASSIGN_OR_RETURN(auto source, MappedTensorSource::create(config, weights.take_files(), tensors,
                                                           directory, "safetensors"));
  return std::unique_ptr<TensorSource>(std::move(source));
}

Result<std::unique_ptr<TensorSource>> open_quantized_weights(const ModelConfig& config,
                                                             const QuantizationScheme& scheme,
                                                             WeightFiles& weights,
                                                             const std::string& directory) {
  ASSIGN_OR_RETURN(auto source, QuantizedTensorSource::create(config, scheme, weights.take_files(),
                                                              weights.tensors(), directory));
  const int num_act_order = source->num_act_order();
  const char* times = scheme.bits == 8 ? "four" : "eight";
  if (num_act_order > 0) {
    log_warning(
        "{}: {} matrices assign inputs to groups in activation order (desc_act); they are held as "
        "F32, {} times their size. --dtype bfloat16 halves that",
        directory, num_act_order, times);
  }
  if (source->num_floats() > num_act_order) {
    log_warning(
        "{}: {} matrices have 8-bit zero points that are not the middle of the range (sym: false); "
        "they are held as F32, {} times their size. --dtype bfloat16 halves that",
        directory, source->num_floats() - num_act_order, times);
  }
  return std::unique_ptr<TensorSource>(std::move(source));
}

// A string, or a list of {name, template} of which "default" counts.
Result<std::string> template_of(const json::value& value, const std::string& path) {
  if (const json::string* text = value.if_string()) return std::string(text->data(), text->size());
  if (const json::array* list = value.if_array()) {
    for (const json::value& item : *list) {
      if (!item.is_object()) continue;
      const ConfigFields fields(item.get_object(), path);
      ASSIGN_OR_RETURN(const auto name, fields.optional_string("name"));
      ASSIGN_OR_RETURN(const auto text, fields.optional_string("template"));
      if (name == "default" && text.has_value()) return *text;
    }
  }
  return invalid_argument(
      fmt::format("{}: chat_template: found {}, expected a string or a list "
                  "with a template named \"default\"",
                  path, printable_json(value)));
}

}  // namespace

Result<std::string> read_hf_chat_template(const std::string& directory) {
  const std::string file = directory + "/chat_template.jinja";
  if (exists(file)) return read_file(file, kMaxTemplateBytes);
  const std::string path = directory + "/tokenizer_config.json";
  if (!exists(path)) return std::string();
  ASSIGN_OR_RETURN(const json::value config, parse_json_file(path, kSmallJson));
  if (!config.is_object()) return invalid_argument(path + ": expected a JSON object");
  const ConfigFields fields(config.get_object(), path);
  const json::value* value = fields.find("chat_template");
  if (value == nullptr) return std::string();
  return template_of(*value, path);
}

Result<ModelFiles> open_hf_directory(const std::string& directory) {
  ModelFiles model;
  model.path = directory;
  const std::string config_path = directory + "/config.json";
  ASSIGN_OR_RETURN(const json::value config, read_hf_config_json(config_path));
  ASSIGN_OR_RETURN(model.config, parse_hf_config(config, config_path));
  ASSIGN_OR_RETURN(const auto scheme, parse_hf_quantization(config, config_path));

  const std::string generation_path = directory + "/generation_config.json";
  if (exists(generation_path)) {
    ASSIGN_OR_RETURN(const json::value generation, parse_json_file(generation_path, kSmallJson));
    ASSIGN_OR_RETURN(model.generation,
                     parse_generation_config(generation, model.config, generation_path));
  }
  WeightFiles weights(directory);
  const std::string index_path = directory + "/model.safetensors.index.json";
  if (exists(directory + "/model.safetensors")) {
    RETURN_IF_ERROR(weights.add_single("model.safetensors"));
  } else if (exists(index_path)) {
    RETURN_IF_ERROR(weights.add_index(index_path));
  } else {
    return not_found(
        fmt::format("{}: found no weights, expected model.safetensors or "
                    "model.safetensors.index.json",
                    directory));
  }
  if (scheme.has_value()) {
    model.quantization = scheme->method;
    ASSIGN_OR_RETURN(model.weights,
                     open_quantized_weights(model.config, *scheme, weights, directory));
  } else {
    ASSIGN_OR_RETURN(model.weights, open_plain_weights(model.config, weights, directory));
  }
  if (exists(directory + "/tokenizer.json")) {
    ASSIGN_OR_RETURN(model.tokenizer, read_hf_tokenizer(directory));
    model.has_tokenizer = true;
  }
  ASSIGN_OR_RETURN(model.chat_template, read_hf_chat_template(directory));
  return model;
}

}  // namespace sparrow
