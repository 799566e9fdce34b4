#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "model/files/format_readers.h"
#include "model/files/gguf_config.h"
#include "model/files/gguf_header.h"
#include "model/files/mapped_tensor_source.h"
#include "model/files/tensor_layout.h"

namespace sparrow {

Result<ModelFiles> open_gguf_file(const std::string& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  ASSIGN_OR_RETURN(const GgufHeader header, GgufHeader::parse(file.bytes(), path));
  ModelFiles model;
  model.path = path;
  ASSIGN_OR_RETURN(model.config, read_gguf_config(header));
  model.quantization = "gguf";
  ASSIGN_OR_RETURN(model.generation, read_gguf_generation(header, model.config));
  if (header.contains("tokenizer.ggml.model")) {
    ASSIGN_OR_RETURN(model.tokenizer, read_gguf_tokenizer(header));
    model.has_tokenizer = true;
  }
  if (header.contains("tokenizer.chat_template")) {
    ASSIGN_OR_RETURN(const std::string_view text, header.get_string("tokenizer.chat_template"));
    model.chat_template = std::string(text);
  }

  std::unordered_map<std::string, std::string> canonical_names;
  for (LayoutTensor& tensor : qwen2_tensor_layout(model.config)) {
    canonical_names.emplace(std::move(tensor.gguf_name), std::move(tensor.name));
  }
  std::vector<FileTensor> tensors;
  for (const GgufTensor& tensor : header.tensors()) {
    const auto found = canonical_names.find(tensor.name);
    FileTensor entry;
    entry.name = found == canonical_names.end() ? tensor.name : found->second;
    entry.type = tensor.type;
    entry.shape.assign(tensor.dims.rbegin(), tensor.dims.rend());
    entry.begin = tensor.begin;
    entry.end = tensor.begin + tensor.size_bytes;
    tensors.push_back(std::move(entry));
  }
  std::vector<MappedFile> files;
  files.push_back(std::move(file));
  ASSIGN_OR_RETURN(model.weights, MappedTensorSource::create(model.config, std::move(files),
                                                             tensors, path, "GGUF"));
  return model;
}

}  // namespace sparrow
