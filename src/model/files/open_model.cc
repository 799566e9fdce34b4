#include <fmt/format.h>

#include <filesystem>

#include "model/files/format_readers.h"
#include "model/files/printable.h"
#include "model/model_files.h"

namespace sparrow {
namespace {

// Every id the tokenizer can produce must be a row of the embedding.
Status check_tokenizer_fits(const ModelFiles& model) {
  int64_t highest = static_cast<int64_t>(model.tokenizer.pieces.size()) - 1;
  while (highest >= 0 && model.tokenizer.pieces[static_cast<size_t>(highest)].empty()) --highest;
  for (const AddedToken& added : model.tokenizer.added_tokens) {
    highest = std::max(highest, static_cast<int64_t>(added.id));
  }
  if (highest < model.config.vocab_size) return ok_status();
  return data_loss(fmt::format("{}: tokenizer: found token id {}, expected below vocab_size {}",
                               model.path, highest, model.config.vocab_size));
}

Result<ModelFiles> open_by_kind(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return not_found(
        fmt::format("{}: no such file or directory; expected a model directory "
                    "(config.json, model.safetensors, tokenizer.json) or a .gguf file",
                    path));
  }
  if (std::filesystem::is_directory(status)) {
    if (std::filesystem::exists(path + "/config.json", error)) return open_hf_directory(path);
    return not_found(
        fmt::format("{}: found no config.json in the directory, expected a model "
                    "directory or the path of a .gguf file",
                    path));
  }
  if (path.ends_with(".safetensors")) {
    return invalid_argument(
        fmt::format("{}: found a weight file, expected the directory that holds it", path));
  }
  return open_gguf_file(path);
}

}  // namespace

Result<ModelFiles> open_model(const std::string& path) {
  ASSIGN_OR_RETURN(ModelFiles model, open_by_kind(path));
  if (model.has_tokenizer) RETURN_IF_ERROR(check_tokenizer_fits(model));
  return model;
}

}  // namespace sparrow
