#pragma once
// ModelWriter: a model as a Hugging Face directory (safetensors; grouped integers as compressed-
// tensors) or one GGUF 3 file, written from front to back with bounded memory. Nothing appears
// under the final name before finish(). One thread; errors name path and cause.
//
//   ASSIGN_OR_RETURN(auto writer, ModelWriter::create("out.gguf", description, TensorType::kQ8_0));
//   for (const PlannedTensor& tensor : writer->tensors()) RETURN_IF_ERROR(writer->write(bytes));
//   RETURN_IF_ERROR(writer->finish());

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/files/tensor_layout.h"
#include "model/model_config.h"
#include "model/model_files.h"
#include "model/writers/group_row_packer.h"
#include "model/writers/staged_file.h"
#include "quant/tensor_type.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {

struct ModelDescription {
  std::string name;  // general.name of a GGUF file
  ModelConfig config;
  std::optional<TokenizerSpec> tokenizer;
  std::string chat_template;
  GenerationDefaults generation;
  // A Hugging Face directory copies its tokenizer's files from here, byte for byte. Empty: they are
  // written from `tokenizer`.
  std::string tokenizer_dir;
};

struct PlannedTensor {
  std::string name;  // canonical
  TensorType type = TensorType::kF32;
  int64_t rows = 1;
  int64_t cols = 0;
  bool is_vector = false;

  uint64_t size_bytes() const { return tensor_row_bytes(type, cols) * static_cast<uint64_t>(rows); }
};

// The type a tensor shall have; its rows must be whole blocks of it.
using TensorTypeRule = std::function<TensorType(const LayoutTensor&)>;

class ModelWriter {
 public:
  // A path that ends in ".gguf" becomes a GGUF file (which replaces one of that name), any other
  // path a new directory. Matrices get `type`; those whose rows are no whole number of its blocks
  // F32. Norms and biases are F32 in GGUF files and of `type` in directories, which take only
  // f32, f16 and bf16.
  static Result<std::unique_ptr<ModelWriter>> create(const std::string& path,
                                                     const ModelDescription& description,
                                                     TensorType type);
  // The same with a type chosen for every tensor. In directories, matrices of the layers may also
  // be grouped integers, all of one type: i4g* is written with a scale per group, i8g* with one per
  // row. Embedding, head, norms and biases stay plain.
  static Result<std::unique_ptr<ModelWriter>> create(const std::string& path,
                                                     const ModelDescription& description,
                                                     const TensorTypeRule& rule);
  ~ModelWriter();
  ModelWriter(const ModelWriter&) = delete;
  ModelWriter& operator=(const ModelWriter&) = delete;

  // In the order their bytes are to be written.
  const std::vector<PlannedTensor>& tensors() const { return tensors_; }
  // The type that scales of grouped integers have in the file: quantize with it
  // (quantize_int_groups), because a scale that it cannot hold exactly is refused.
  TensorType scale_type() const { return plain_type_; }
  // The next bytes, in pieces of any size that do not cross the end of a tensor.
  Status write(std::span<const std::byte> bytes);
  // CHECKs that every tensor is complete.
  Status finish();

 private:
  ModelWriter() = default;
  Status start_gguf(const ModelDescription& description);
  Status start_directory(const ModelDescription& description);
  Status write_packed(const PlannedTensor& tensor, std::span<const std::byte> bytes);
  Status start_file(const std::string& path, std::string_view header, uint64_t data_bytes);

  std::string path_;
  std::string partial_directory_;  // empty for GGUF and after finish()
  uint64_t alignment_ = 1;         // of every tensor's end
  std::vector<PlannedTensor> tensors_;
  TensorType plain_type_ = TensorType::kF32;  // of the embedding; of scales
  std::unique_ptr<StagedFile> file_;
  std::optional<GroupRowPacker> packer_;  // of the current tensor
  size_t current_ = 0;                    // tensor
  uint64_t current_done_ = 0;             // bytes of it
};

}  // namespace sparrow
