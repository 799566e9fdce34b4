#include "model/files/gguf_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "model/files/config_limits.h"
#include "model/files/printable.h"

namespace sparrow {
namespace {

Status refuse(const GgufHeader& header, std::string_view key, std::string_view found,
              std::string_view what_to_do) {
  return unimplemented(fmt::format("{}: {}: found {}, which is not supported; {}", header.path(),
                                   key, printable(found), what_to_do));
}

Result<int32_t> size_key(const GgufHeader& header, const std::string& key, int32_t max) {
  ASSIGN_OR_RETURN(const uint64_t value, header.get_uint(key, 1, static_cast<uint64_t>(max)));
  return static_cast<int32_t>(value);
}

Result<TokenId> token_key(const GgufHeader& header, const char* key, int32_t vocab_size) {
  if (!header.contains(key)) return TokenId{-1};
  ASSIGN_OR_RETURN(const uint64_t id,
                   header.get_uint(key, 0, static_cast<uint64_t>(vocab_size) - 1));
  return static_cast<TokenId>(id);
}

Status check_unsupported(const GgufHeader& header) {
  if (header.contains("split.count")) {
    ASSIGN_OR_RETURN(const uint64_t count, header.get_uint("split.count", 0, 65535));
    if (count > 1) {
      return refuse(header, "split.count", std::to_string(count),
                    "merge the parts into one file (llama-gguf-split --merge)");
    }
  }
  if (header.contains("qwen2.rope.scaling.type")) {
    ASSIGN_OR_RETURN(const std::string_view type, header.get_string("qwen2.rope.scaling.type"));
    if (type != "none") {
      return refuse(header, "qwen2.rope.scaling.type", type, "use a file without position scaling");
    }
  }
  if (header.contains("qwen2.attention.sliding_window")) {
    ASSIGN_OR_RETURN(const uint64_t window,
                     header.get_uint("qwen2.attention.sliding_window", 0, 1u << 30));
    if (window != 0) {
      return refuse(header, "qwen2.attention.sliding_window", std::to_string(window),
                    "use a file with full attention");
    }
  }
  return ok_status();
}

// Rows of the embedding: the one size that is not in the metadata of every file.
Result<int32_t> embedding_rows(const GgufHeader& header) {
  for (const GgufTensor& tensor : header.tensors()) {
    if (tensor.name != "token_embd.weight") continue;
    if (tensor.dims.size() != 2 || tensor.dims[1] > kMaxVocabSize) {
      return data_loss(
          fmt::format("{}: tensor token_embd.weight: found dimensions [{}], expected "
                      "two, the second at most {}",
                      header.path(), fmt::join(tensor.dims, ", "), kMaxVocabSize));
    }
    return static_cast<int32_t>(tensor.dims[1]);
  }
  return data_loss(fmt::format("{}: tensor token_embd.weight is missing", header.path()));
}

}  // namespace

const char* const kQwen2SplitPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

Result<ModelConfig> read_gguf_config(const GgufHeader& header) {
  ASSIGN_OR_RETURN(const std::string_view architecture, header.get_string("general.architecture"));
  if (architecture != "qwen2") {
    return refuse(header, "general.architecture", architecture,
                  "expected \"qwen2\" (DeepSeek-R1-Distill-Qwen, Qwen2, Qwen2.5)");
  }
  RETURN_IF_ERROR(check_unsupported(header));
  ModelConfig config;
  ASSIGN_OR_RETURN(config.num_layers, size_key(header, "qwen2.block_count", kMaxLayers));
  ASSIGN_OR_RETURN(config.max_position, size_key(header, "qwen2.context_length", kMaxPosition));
  ASSIGN_OR_RETURN(config.hidden_size, size_key(header, "qwen2.embedding_length", kMaxHiddenSize));
  ASSIGN_OR_RETURN(config.intermediate_size,
                   size_key(header, "qwen2.feed_forward_length", kMaxIntermediateSize));
  ASSIGN_OR_RETURN(config.num_heads, size_key(header, "qwen2.attention.head_count", kMaxHeads));
  config.num_kv_heads = config.num_heads;
  if (header.contains("qwen2.attention.head_count_kv")) {
    ASSIGN_OR_RETURN(config.num_kv_heads,
                     size_key(header, "qwen2.attention.head_count_kv", config.num_heads));
  }
  if (header.contains("qwen2.attention.key_length")) {
    ASSIGN_OR_RETURN(config.head_dim, size_key(header, "qwen2.attention.key_length", kMaxHeadDim));
  } else if (config.hidden_size % config.num_heads != 0) {
    return data_loss(
        fmt::format("{}: qwen2.embedding_length: found {}, expected a multiple of the "
                    "{} heads",
                    header.path(), config.hidden_size, config.num_heads));
  } else {
    config.head_dim = config.hidden_size / config.num_heads;
  }
  ASSIGN_OR_RETURN(const double eps, header.get_float("qwen2.attention.layer_norm_rms_epsilon"));
  config.rms_norm_eps = static_cast<float>(eps);
  if (header.contains("qwen2.rope.freq_base")) {
    ASSIGN_OR_RETURN(const double theta, header.get_float("qwen2.rope.freq_base"));
    config.rope_theta = static_cast<float>(theta);
  }
  ASSIGN_OR_RETURN(config.vocab_size, embedding_rows(header));
  config.tied_embeddings =
      std::none_of(header.tensors().begin(), header.tensors().end(),
                   [](const GgufTensor& tensor) { return tensor.name == "output.weight"; });
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    ASSIGN_OR_RETURN(const TokenId eos, token_key(header, key, config.vocab_size));
    auto& ids = config.eos_token_ids;
    if (eos >= 0 && std::find(ids.begin(), ids.end(), eos) == ids.end()) ids.push_back(eos);
  }
  ASSIGN_OR_RETURN(config.bos_token_id,
                   token_key(header, "tokenizer.ggml.bos_token_id", config.vocab_size));
  RETURN_IF_ERROR(check_model_config(config, header.path()));
  return config;
}

Result<GenerationDefaults> read_gguf_generation(const GgufHeader& header,
                                                const ModelConfig& config) {
  GenerationDefaults defaults;
  defaults.eos_token_ids = config.eos_token_ids;
  const auto read = [&](const char* key, double low, double high, std::optional<double>& out) {
    if (!header.contains(key)) return ok_status();
    ASSIGN_OR_RETURN(const double value, header.get_float(key));
    if (!(value >= low && value <= high)) {
      return data_loss(
          fmt::format("{}: {}: found {}, expected {} to {}", header.path(), key, value, low, high));
    }
    // The decimal a person wrote, not its nearest fp32.
    out = std::strtod(fmt::format("{}", static_cast<float>(value)).c_str(), nullptr);
    return ok_status();
  };
  RETURN_IF_ERROR(read("general.sampling.temp", 0, 100, defaults.temperature));
  RETURN_IF_ERROR(read("general.sampling.top_p", 0, 1, defaults.top_p));
  RETURN_IF_ERROR(read("general.sampling.min_p", 0, 1, defaults.min_p));
  RETURN_IF_ERROR(read("general.sampling.penalty_repeat", 0.01, 100, defaults.repetition_penalty));
  if (const GgufValue* top_k = header.find("general.sampling.top_k")) {
    int32_t value = 0;
    if (top_k->type != GgufType::kI32 || top_k->bytes.size() != sizeof value) {
      return data_loss(fmt::format("{}: general.sampling.top_k: expected an i32", header.path()));
    }
    std::memcpy(&value, top_k->bytes.data(), sizeof value);
    if (value >= -1) defaults.top_k = value;  // below: off, as it is without the key
  }
  return defaults;
}

Result<TokenizerSpec> read_gguf_tokenizer(const GgufHeader& header) {
  ASSIGN_OR_RETURN(const std::string_view model, header.get_string("tokenizer.ggml.model"));
  if (model != "gpt2") {
    return refuse(header, "tokenizer.ggml.model", model, "expected \"gpt2\" (byte-level BPE)");
  }
  ASSIGN_OR_RETURN(const std::string_view pre, header.get_string("tokenizer.ggml.pre"));
  if (pre != "qwen2" && pre != "deepseek-r1-qwen") {
    return refuse(header, "tokenizer.ggml.pre", pre,
                  "expected \"qwen2\" or \"deepseek-r1-qwen\"; use the Hugging Face directory");
  }
  TokenizerSpec spec;
  spec.source = header.path();
  spec.split_pattern = kQwen2SplitPattern;
  spec.nfc = true;  // not in the metadata; both tokenizers normalize
  ASSIGN_OR_RETURN(const auto tokens, header.get_strings("tokenizer.ggml.tokens"));
  ASSIGN_OR_RETURN(const auto types, header.get_i32s("tokenizer.ggml.token_type"));
  if (tokens.size() != types.size() || tokens.empty() || tokens.size() > kMaxVocabSize) {
    return data_loss(
        fmt::format("{}: tokenizer.ggml.tokens: found {} tokens and {} types, expected "
                    "as many of each, 1 to {}",
                    header.path(), tokens.size(), types.size(), kMaxVocabSize));
  }
  spec.pieces.resize(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto type = static_cast<GgufTokenType>(types[i]);
    if (type == GgufTokenType::kUnused) continue;
    if (type == GgufTokenType::kControl || type == GgufTokenType::kUserDefined) {
      AddedToken added;
      added.id = static_cast<TokenId>(i);
      added.content = std::string(tokens[i]);
      added.special = type == GgufTokenType::kControl;
      spec.added_tokens.push_back(std::move(added));
    } else {
      spec.pieces[i] = std::string(tokens[i]);
    }
  }
  ASSIGN_OR_RETURN(const auto merges, header.get_strings("tokenizer.ggml.merges"));
  spec.merges.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    // Pieces are written in the byte alphabet, which has no space.
    const size_t space = merges[i].find(' ');
    if (space == 0 || space == std::string_view::npos || space + 1 == merges[i].size()) {
      return data_loss(
          fmt::format("{}: tokenizer.ggml.merges: entry {}: found {}, expected two "
                      "pieces with a space between",
                      header.path(), i, printable(merges[i])));
    }
    spec.merges.emplace_back(merges[i].substr(0, space), merges[i].substr(space + 1));
  }
  const auto vocab_size = static_cast<int32_t>(tokens.size());
  ASSIGN_OR_RETURN(spec.bos_token_id, token_key(header, "tokenizer.ggml.bos_token_id", vocab_size));
  ASSIGN_OR_RETURN(spec.eos_token_id, token_key(header, "tokenizer.ggml.eos_token_id", vocab_size));
  if (header.contains("tokenizer.ggml.add_bos_token")) {
    ASSIGN_OR_RETURN(spec.add_bos, header.get_bool("tokenizer.ggml.add_bos_token"));
  }
  return spec;
}

}  // namespace sparrow
