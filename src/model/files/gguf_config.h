#pragma once
// GGUF metadata -> ModelConfig and TokenizerSpec (keys of ggml-org/ggml docs/gguf.md; token types
// and pre-tokenizer names of llama.cpp). Unsupported things are refused by name.

#include "base/status.h"
#include "model/files/gguf_header.h"
#include "model/model_config.h"
#include "model/model_files.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {

// The split pattern of Qwen2 and of R1's distilled relatives (tokenizer.json), which GGUF files
// only name: tokenizer.ggml.pre "qwen2" or "deepseek-r1-qwen".
extern const char* const kQwen2SplitPattern;

// tokenizer.ggml.token_type
enum class GgufTokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

Result<ModelConfig> read_gguf_config(const GgufHeader& header);
// general.sampling.*, as llama.cpp writes them, and the config's eos.
Result<GenerationDefaults> read_gguf_generation(const GgufHeader& header,
                                                const ModelConfig& config);
// Call only when "tokenizer.ggml.model" is there.
Result<TokenizerSpec> read_gguf_tokenizer(const GgufHeader& header);

}  // namespace sparrow
