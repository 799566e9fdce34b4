#include "model/files/tensor_layout.h"

#include <fmt/format.h>

namespace sparrow {
namespace {

void append_layer(const ModelConfig& config, int layer, std::vector<LayoutTensor>& out) {
  const int64_t hidden = config.hidden_size, ffn = config.intermediate_size;
  const int64_t q_rows = config.q_size(), kv_rows = config.kv_size();
  const std::string hf = fmt::format("model.layers.{}.", layer);
  const std::string gguf = fmt::format("blk.{}.", layer);
  auto matrix = [&](const char* name, const char* gguf_name, int64_t rows, int64_t cols) {
    out.push_back({hf + name + ".weight", gguf + gguf_name + ".weight", rows, cols, false});
  };
  auto vector = [&](const char* name, const char* gguf_name, int64_t cols) {
    out.push_back({hf + name, gguf + gguf_name, 1, cols, true});
  };
  vector("input_layernorm.weight", "attn_norm.weight", hidden);
  matrix("self_attn.q_proj", "attn_q", q_rows, hidden);
  vector("self_attn.q_proj.bias", "attn_q.bias", q_rows);
  matrix("self_attn.k_proj", "attn_k", kv_rows, hidden);
  vector("self_attn.k_proj.bias", "attn_k.bias", kv_rows);
  matrix("self_attn.v_proj", "attn_v", kv_rows, hidden);
  vector("self_attn.v_proj.bias", "attn_v.bias", kv_rows);
  matrix("self_attn.o_proj", "attn_output", hidden, q_rows);
  vector("post_attention_layernorm.weight", "ffn_norm.weight", hidden);
  matrix("mlp.gate_proj", "ffn_gate", ffn, hidden);
  matrix("mlp.up_proj", "ffn_up", ffn, hidden);
  matrix("mlp.down_proj", "ffn_down", hidden, ffn);
}

}  // namespace

std::vector<LayoutTensor> qwen2_tensor_layout(const ModelConfig& config) {
  const int64_t hidden = config.hidden_size, vocab = config.vocab_size;
  std::vector<LayoutTensor> layout;
  layout.push_back({"model.embed_tokens.weight", "token_embd.weight", vocab, hidden, false});
  for (int layer = 0; layer < config.num_layers; ++layer) append_layer(config, layer, layout);
  layout.push_back({"model.norm.weight", "output_norm.weight", 1, hidden, true});
  if (!config.tied_embeddings) {
    layout.push_back({"lm_head.weight", "output.weight", vocab, hidden, false});
  }
  return layout;
}

}  // namespace sparrow
