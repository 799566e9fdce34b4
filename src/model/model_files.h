#pragma once
// ModelFiles: everything a model's files say, read and checked: config, weights, tokenizer, chat
// template, generation defaults. From a Hugging Face directory or one GGUF file. Move-only.
//
//   ASSIGN_OR_RETURN(ModelFiles model, open_model("models/nano"));

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/model_config.h"
#include "model/tensor_source.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {

// generation_config.json; absent fields are nullopt and the server's own defaults hold.
struct GenerationDefaults {
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int> top_k;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::vector<TokenId> eos_token_ids;
};

struct ModelFiles {
  std::string path;  // the directory or file that was opened
  ModelConfig config;
  std::unique_ptr<TensorSource> weights;
  // "awq", "gptq", "compressed-tensors", "gguf", as --quantization names it; empty: none.
  std::string quantization;
  TokenizerSpec tokenizer;     // check has_tokenizer first
  bool has_tokenizer = false;  // test models may come without one
  std::string chat_template;   // Jinja source; empty: none
  GenerationDefaults generation;
};

// Errors are one line: file, field, found, expected.
Result<ModelFiles> open_model(const std::string& path);

}  // namespace sparrow
