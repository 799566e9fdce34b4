#include "model/writers/model_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/check.h"
#include "base/file.h"
#include "model/files/config_limits.h"
#include "model/files/tensor_layout.h"
#include "model/writers/gguf_text.h"
#include "model/writers/hf_text.h"
#include "quant/convert_int_groups.h"

namespace sparrow {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 6> kTokenizerFiles = {
    "tokenizer.json",      "tokenizer_config.json",
    "chat_template.jinja", "generation_config.json",
    "vocab.json",          "merges.txt"};
constexpr size_t kMaxTokenizerFileBytes = 64u << 20;

std::vector<PlannedTensor> plan_tensors(const ModelConfig& config, const TensorTypeRule& rule) {
  std::vector<PlannedTensor> tensors;
  for (LayoutTensor& tensor : qwen2_tensor_layout(config)) {
    const TensorType type = rule(tensor);
    CHECK(tensor.cols % tensor_type_info(type).block_elements == 0);
    tensors.push_back({std::move(tensor.name), type, tensor.rows, tensor.cols, tensor.is_vector});
  }
  return tensors;
}

// What the path's kind of file can hold.
Status check_types(const std::string& path, const std::vector<PlannedTensor>& tensors, bool gguf) {
  std::optional<TensorType> grouped;
  for (const PlannedTensor& tensor : tensors) {
    const TensorTypeInfo& info = tensor_type_info(tensor.type);
    if (gguf && !tensor_type_from_ggml_id(static_cast<uint32_t>(tensor.type)).has_value()) {
      return invalid_argument(fmt::format("{}: GGUF has no type {}; expected one of {}", path,
                                          info.name, ggml_type_names()));
    }
    if (gguf) continue;
    if (is_int_group(tensor.type)) {
      if (tensor.is_vector || tensor.name == "model.embed_tokens.weight" ||
          tensor.name == "lm_head.weight") {
        return invalid_argument(fmt::format("{}: {} cannot be {}; expected f32, f16 or bf16", path,
                                            tensor.name, info.name));
      }
      if (grouped.has_value() && grouped != tensor.type) {
        return invalid_argument(
            fmt::format("{}: found {} and {} matrices, expected one type for all", path,
                        tensor_type_info(*grouped).name, info.name));
      }
      grouped = tensor.type;
    } else if (info.block_elements != 1) {
      return invalid_argument(fmt::format(
          "{}: type {} can only be written to a GGUF file; expected a path that ends in .gguf, or "
          "one of the types f32, f16, bf16, i4g32, i4g64, i4g128, i8g128 for a directory",
          path, info.name));
    }
  }
  return ok_status();
}

uint64_t rounded_up(uint64_t size, uint64_t alignment) {
  return (size + alignment - 1) / alignment * alignment;
}

Status copy_tokenizer_files(const std::string& from, const std::string& to) {
  for (const char* name : kTokenizerFiles) {
    const std::string source = fmt::format("{}/{}", from, name);
    std::error_code error;
    if (!fs::exists(source, error)) continue;
    ASSIGN_OR_RETURN(const std::string content, read_file(source, kMaxTokenizerFileBytes));
    RETURN_IF_ERROR(write_file_atomically(fmt::format("{}/{}", to, name), content));
  }
  return ok_status();
}

}  // namespace

Result<std::unique_ptr<ModelWriter>> ModelWriter::create(const std::string& path,
                                                         const ModelDescription& description,
                                                         TensorType type) {
  const bool gguf = path.ends_with(".gguf");
  const TensorTypeRule rule = [type, gguf](const LayoutTensor& tensor) {
    const bool fits = tensor.cols % tensor_type_info(type).block_elements == 0;
    if (is_int_group(type) && !gguf) {
      const bool in_layer = tensor.name.starts_with("model.layers.") && !tensor.is_vector;
      return fits && in_layer ? type : TensorType::kBF16;
    }
    return (tensor.is_vector && gguf) || !fits ? TensorType::kF32 : type;
  };
  return create(path, description, rule);
}

Result<std::unique_ptr<ModelWriter>> ModelWriter::create(const std::string& path,
                                                         const ModelDescription& description,
                                                         const TensorTypeRule& rule) {
  RETURN_IF_ERROR(check_model_config(description.config, "config"));
  const bool gguf = path.ends_with(".gguf");
  std::unique_ptr<ModelWriter> writer(new ModelWriter());
  writer->path_ = path;
  while (writer->path_.size() > 1 && writer->path_.back() == '/') writer->path_.pop_back();
  writer->tensors_ = plan_tensors(description.config, rule);
  RETURN_IF_ERROR(check_types(path, writer->tensors_, gguf));
  RETURN_IF_ERROR(gguf ? writer->start_gguf(description) : writer->start_directory(description));
  return writer;
}

ModelWriter::~ModelWriter() {
  file_.reset();
  std::error_code error;
  if (!partial_directory_.empty()) fs::remove_all(partial_directory_, error);
}

Status ModelWriter::start_file(const std::string& path, std::string_view header,
                               uint64_t data_bytes) {
  ASSIGN_OR_RETURN(file_, StagedFile::create(path, header.size() + data_bytes));
  return file_->append(std::as_bytes(std::span(header)));
}

Status ModelWriter::start_gguf(const ModelDescription& description) {
  alignment_ = kGgufAlignment;
  ASSIGN_OR_RETURN(const std::string header, gguf_header_text(description, tensors_));
  uint64_t data_bytes = 0;
  for (const PlannedTensor& tensor : tensors_) {
    data_bytes += rounded_up(tensor.size_bytes(), alignment_);
  }
  return start_file(path_, header, data_bytes);
}

Status ModelWriter::start_directory(const ModelDescription& description) {
  std::error_code error;
  if (fs::exists(path_, error) && !(fs::is_directory(path_, error) && fs::is_empty(path_, error))) {
    return failed_precondition(
        fmt::format("{}: already exists; remove it or choose another path", path_));
  }
  const std::string partial = path_ + ".partial";
  fs::create_directories(partial, error);
  if (error) return failed_precondition(fmt::format("{}: {}", partial, error.message()));
  std::sort(tensors_.begin(), tensors_.end(),
            [](const PlannedTensor& a, const PlannedTensor& b) { return a.name < b.name; });
  for (const PlannedTensor& tensor : tensors_) {
    // The embedding is always plain.
    if (tensor.name == "model.embed_tokens.weight") plain_type_ = tensor.type;
  }
  const std::vector<SafetensorsPlan> plan = safetensors_plan(tensors_, plain_type_);
  uint64_t data_bytes = 0;
  for (const SafetensorsPlan& tensor : plan) data_bytes += tensor.size_bytes;
  RETURN_IF_ERROR(
      start_file(partial + "/model.safetensors", safetensors_header_text(plan), data_bytes));
  // From here on the directory is ours: the lock on the weights keeps others out. What a killed
  // process left in it must not become part of this model.
  partial_directory_ = partial;
  for (const fs::directory_entry& entry : fs::directory_iterator(partial, error)) {
    if (entry.path().filename() != "model.safetensors.partial") fs::remove_all(entry.path(), error);
  }
  RETURN_IF_ERROR(write_file_atomically(partial + "/config.json",
                                        hf_config_text(description.config, tensors_, plain_type_)));
  if (!description.tokenizer_dir.empty()) {
    return copy_tokenizer_files(description.tokenizer_dir, partial);
  }
  RETURN_IF_ERROR(
      write_file_atomically(partial + "/generation_config.json", hf_generation_text(description)));
  if (!description.tokenizer.has_value()) return ok_status();
  RETURN_IF_ERROR(write_file_atomically(partial + "/tokenizer.json",
                                        hf_tokenizer_text(*description.tokenizer)));
  return write_file_atomically(
      partial + "/tokenizer_config.json",
      hf_tokenizer_config_text(*description.tokenizer, description.chat_template));
}

Status ModelWriter::write(std::span<const std::byte> bytes) {
  CHECK(current_ < tensors_.size());
  const PlannedTensor& tensor = tensors_[current_];
  const uint64_t size = tensor.size_bytes();
  CHECK(bytes.size() <= size - current_done_);
  RETURN_IF_ERROR(is_int_group(tensor.type) ? write_packed(tensor, bytes) : file_->append(bytes));
  current_done_ += bytes.size();
  if (current_done_ < size) return ok_status();
  const std::vector<std::byte> padding(rounded_up(size, alignment_) - size);
  ++current_;
  current_done_ = 0;
  packer_.reset();
  return file_->append(padding);
}

Status ModelWriter::write_packed(const PlannedTensor& tensor, std::span<const std::byte> bytes) {
  if (!packer_.has_value()) packer_.emplace(tensor.type, tensor.rows, tensor.cols, plain_type_);
  std::vector<std::byte> packed;
  const Status status = packer_->add(bytes, packed);
  if (!status.ok()) return Status(status.code(), tensor.name + ": " + status.message());
  return file_->append(packed);
}

Status ModelWriter::finish() {
  CHECK(current_ == tensors_.size());
  RETURN_IF_ERROR(file_->commit());
  file_.reset();
  if (partial_directory_.empty()) return ok_status();
  std::error_code error;
  fs::rename(partial_directory_, path_, error);  // replaces an empty directory
  if (error)
    return failed_precondition(fmt::format("{}: cannot rename: {}", path_, error.message()));
  partial_directory_.clear();
  return ok_status();
}

}  // namespace sparrow
