#include "tests/support/stories260k.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "model/files/gguf_config.h"
#include "model/writers/model_writer.h"
#include "quant/convert_row.h"
#include "tokenizer/byte_alphabet.h"

namespace sparrow {
namespace {

constexpr size_t kMaxFileBytes = 16u << 20;
constexpr size_t kHeaderBytes = 256;

ModelConfig stories_config() {
  ModelConfig config;
  config.hidden_size = 64;
  config.intermediate_size = 172;
  config.num_layers = 5;
  config.num_heads = 8;
  config.num_kv_heads = 4;
  config.head_dim = 8;
  config.vocab_size = 512;
  config.max_position = 512;
  config.rms_norm_eps = 1e-5f;
  config.rope_theta = 10000.0f;
  config.tied_embeddings = true;
  config.eos_token_ids = {2};
  config.bos_token_id = 1;
  return config;
}

using Floats = std::vector<float>;

// Moves rows 2i and 2i + 1 of every head to i and i + D/2.
Floats rotate_half_order(const Floats& rows, const ModelConfig& config) {
  const auto hidden = static_cast<size_t>(config.hidden_size);
  const auto dim = static_cast<size_t>(config.head_dim);
  Floats out(rows.size());
  for (size_t row = 0; row < rows.size() / hidden; ++row) {
    const size_t in_head = row % dim;
    const size_t target = row - in_head + in_head / 2 + (in_head % 2) * (dim / 2);
    std::copy_n(rows.begin() + static_cast<ptrdiff_t>(row * hidden), hidden,
                out.begin() + static_cast<ptrdiff_t>(target * hidden));
  }
  return out;
}

// checkpoint_v1.bin, tensors by canonical name.
Result<std::map<std::string, Floats>> read_weights(const std::string& path,
                                                   const ModelConfig& config) {
  ASSIGN_OR_RETURN(const std::string bytes, read_file(path, kMaxFileBytes));
  size_t offset = kHeaderBytes;
  bool complete = true;
  auto take = [&](int64_t count) {
    Floats values(static_cast<size_t>(count));
    const size_t size = values.size() * sizeof(float);
    if (offset + size > bytes.size()) {
      complete = false;
      return values;
    }
    std::memcpy(values.data(), bytes.data() + offset, size);
    offset += size;
    return values;
  };
  std::map<std::string, Floats> weights;
  const int64_t hidden = config.hidden_size, ffn = config.intermediate_size;
  auto take_layers = [&](const char* name, int64_t count) {
    for (int layer = 0; layer < config.num_layers; ++layer) {
      weights["model.layers." + std::to_string(layer) + "." + name] = take(count);
    }
  };
  take_layers("input_layernorm.weight", hidden);
  take_layers("post_attention_layernorm.weight", hidden);
  weights["model.norm.weight"] = take(hidden);
  weights["model.embed_tokens.weight"] = take(config.vocab_size * hidden);
  take_layers("self_attn.q_proj.weight", config.q_size() * hidden);
  take_layers("self_attn.k_proj.weight", config.kv_size() * hidden);
  take_layers("self_attn.v_proj.weight", config.kv_size() * hidden);
  take_layers("self_attn.o_proj.weight", config.q_size() * hidden);
  take_layers("mlp.gate_proj.weight", ffn * hidden);
  take_layers("mlp.down_proj.weight", ffn * hidden);
  take_layers("mlp.up_proj.weight", ffn * hidden);
  if (!complete || offset != bytes.size()) return data_loss(path + ": unexpected size");
  for (auto& [name, values] : weights) {
    if (name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight")) {
      values = rotate_half_order(values, config);
    }
  }
  return weights;
}

// tokenizer.bin: texts by id. Tokens 3-258 are the bytes, written as "<0x41>".
Result<std::vector<std::string>> read_tokens(const std::string& path, size_t count) {
  ASSIGN_OR_RETURN(const std::string bytes, read_file(path, kMaxFileBytes));
  std::vector<std::string> tokens;
  size_t offset = sizeof(int32_t);
  while (offset + 8 <= bytes.size()) {
    int32_t length;
    std::memcpy(&length, bytes.data() + offset + 4, sizeof length);
    offset += 8;
    if (length < 0 || offset + static_cast<size_t>(length) > bytes.size()) break;
    tokens.push_back(bytes.substr(offset, static_cast<size_t>(length)));
    offset += static_cast<size_t>(length);
  }
  if (tokens.size() != count || offset != bytes.size())
    return data_loss(path + ": unexpected size");
  return tokens;
}

// Scores fall with the id, so id order is merge order. Like SentencePiece, any two neighbours whose
// concatenation is a piece may merge.
TokenizerSpec stories_tokenizer(const std::vector<std::string>& tokens) {
  constexpr size_t kFirstByte = 3, kFirstPiece = 259;
  TokenizerSpec spec;
  spec.pieces.resize(tokens.size());
  std::set<std::string> known;
  for (size_t id = kFirstPiece; id < tokens.size(); ++id) {
    spec.pieces[id] = piece_of_bytes(tokens[id]);
    known.insert(spec.pieces[id]);
  }
  for (size_t id = kFirstByte; id < kFirstPiece; ++id) {
    const std::string piece = piece_of_bytes(std::string(1, static_cast<char>(id - kFirstByte)));
    // A byte that has a piece of its own keeps its old text: no merge leads there.
    spec.pieces[id] = known.contains(piece) ? tokens[id] : piece;
  }
  for (size_t id = kFirstByte; id < kFirstPiece; ++id) known.insert(spec.pieces[id]);
  for (size_t id = kFirstPiece; id < tokens.size(); ++id) {
    for (size_t split = 1; split < tokens[id].size(); ++split) {
      const std::string left = piece_of_bytes(tokens[id].substr(0, split));
      const std::string right = piece_of_bytes(tokens[id].substr(split));
      if (known.contains(left) && known.contains(right)) spec.merges.emplace_back(left, right);
    }
  }
  const char* const specials[] = {"<unk>", "<s>", "</s>"};
  for (TokenId id = 0; id < 3; ++id) {
    AddedToken token;
    token.id = id;
    token.content = specials[id];
    token.special = true;
    spec.added_tokens.push_back(token);
  }
  spec.split_pattern = kQwen2SplitPattern;
  spec.bos_token_id = 1;
  spec.eos_token_id = 2;
  spec.add_bos = true;
  return spec;
}

}  // namespace

Status convert_stories260k(const std::string& data_dir, const std::string& out_path,
                           TensorType type) {
  ModelDescription description;
  description.name = "stories260K";
  description.config = stories_config();
  const auto vocab_size = static_cast<size_t>(description.config.vocab_size);
  ASSIGN_OR_RETURN(auto weights, read_weights(data_dir + "/checkpoint_v1.bin", description.config));
  ASSIGN_OR_RETURN(const auto tokens, read_tokens(data_dir + "/tokenizer.bin", vocab_size));
  description.tokenizer = stories_tokenizer(tokens);
  ASSIGN_OR_RETURN(const auto writer, ModelWriter::create(out_path, description, type));
  for (const PlannedTensor& tensor : writer->tensors()) {
    Floats& values = weights[tensor.name];
    values.resize(static_cast<size_t>(tensor.rows * tensor.cols), 0.0f);  // biases are zero
    std::vector<std::byte> row(tensor_row_bytes(tensor.type, tensor.cols));
    for (int64_t index = 0; index < tensor.rows; ++index) {
      quantize_row(tensor.type, values.data() + index * tensor.cols, tensor.cols, row.data());
      RETURN_IF_ERROR(writer->write(row));
    }
  }
  return writer->finish();
}

}  // namespace sparrow
