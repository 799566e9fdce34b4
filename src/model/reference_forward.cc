#include "model/reference_forward.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/rope_frequencies.h"
#include "model/tensor_source.h"
#include "quant/convert_row.h"

namespace sparrow {
namespace {

using Matrix = std::vector<double>;  // row-major [T][columns]

Result<std::vector<float>> read_tensor(const TensorSource& source, const std::string& name) {
  ASSIGN_OR_RETURN(const SourceTensor tensor, source.tensor(name));
  std::vector<float> values(static_cast<size_t>(tensor.rows * tensor.cols));
  for (int64_t row = 0; row < tensor.rows; ++row) {
    dequantize_row(tensor.type, tensor.bytes.data() + static_cast<size_t>(row) * tensor.row_bytes(),
                   tensor.cols, values.data() + row * tensor.cols);
  }
  source.release(tensor);
  return values;
}

// x [T][in], weight [out][in], bias [out] or empty -> x weight^T + bias [T][out]
Matrix linear(const Matrix& x, const std::vector<float>& weight, const std::vector<float>& bias,
              size_t num_in) {
  const size_t num_tokens = x.size() / num_in, num_out = weight.size() / num_in;
  Matrix out(num_tokens * num_out);
  for (size_t token = 0; token < num_tokens; ++token) {
    for (size_t row = 0; row < num_out; ++row) {
      double sum = 0;
      for (size_t i = 0; i < num_in; ++i) sum += x[token * num_in + i] * weight[row * num_in + i];
      out[token * num_out + row] = sum + (bias.empty() ? 0.0f : bias[row]);
    }
  }
  return out;
}

// x[i] * g[i] / sqrt(mean(x^2) + eps), token by token
Matrix rms_norm(const Matrix& x, const std::vector<float>& gain, float epsilon) {
  const size_t size = gain.size();
  Matrix out(x.size());
  for (size_t begin = 0; begin < x.size(); begin += size) {
    double squares = 0;
    for (size_t i = 0; i < size; ++i) squares += x[begin + i] * x[begin + i];
    const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(size) + epsilon);
    for (size_t i = 0; i < size; ++i) out[begin + i] = x[begin + i] * inverse * gain[i];
  }
  return out;
}

// heads [T][N][D]: rotates the pairs (i, i + D/2) of every head by position * frequency[i]
void rope(Matrix& heads, size_t num_heads, size_t head_dim, const std::vector<float>& frequency) {
  const size_t half = head_dim / 2;
  for (size_t begin = 0; begin < heads.size(); begin += head_dim) {
    const auto position = static_cast<int32_t>(begin / (num_heads * head_dim));
    for (size_t i = 0; i < half; ++i) {
      const double angle = rope_angle(position, frequency[i]);
      const double first = heads[begin + i], second = heads[begin + half + i];
      heads[begin + i] = first * std::cos(angle) - second * std::sin(angle);
      heads[begin + half + i] = second * std::cos(angle) + first * std::sin(angle);
    }
  }
}

// One query head [D] at `position` over k, v [T][Nk][D] of KV head `kv_head` -> out [D]
void attend(const double* q, const Matrix& k, const Matrix& v, size_t position, size_t kv_head,
            const ModelConfig& config, double* out) {
  const auto head_dim = static_cast<size_t>(config.head_dim);
  const auto stride = static_cast<size_t>(config.kv_size());
  std::vector<double> scores(position + 1);
  for (size_t j = 0; j <= position; ++j) {
    const double* key = &k[j * stride + kv_head * head_dim];
    for (size_t i = 0; i < head_dim; ++i) scores[j] += q[i] * key[i];
    scores[j] /= std::sqrt(static_cast<double>(head_dim));
  }
  const double maximum = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (double& score : scores) total += score = std::exp(score - maximum);
  std::fill(out, out + head_dim, 0.0);
  for (size_t j = 0; j <= position; ++j) {
    const double* value = &v[j * stride + kv_head * head_dim];
    for (size_t i = 0; i < head_dim; ++i) out[i] += scores[j] / total * value[i];
  }
}

// q [T][Nq][D], k and v [T][Nk][D] -> [T][Nq][D]; query head h reads KV head h / group
Matrix attention(const Matrix& q, const Matrix& k, const Matrix& v, const ModelConfig& config) {
  Matrix out(q.size());
  const auto head_dim = static_cast<size_t>(config.head_dim);
  const auto num_heads = static_cast<size_t>(config.num_heads);
  const auto group = static_cast<size_t>(config.group_size());
  for (size_t index = 0; index < q.size() / head_dim; ++index) {
    const size_t position = index / num_heads, head = index % num_heads;
    attend(&q[index * head_dim], k, v, position, head / group, config, &out[index * head_dim]);
  }
  return out;
}

void add(Matrix& x, const Matrix& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

// x [T][H] -> x + attention block + FFN block
void run_layer(Matrix& x, const ReferenceLayer& layer, const ModelConfig& config,
               const std::vector<float>& frequencies) {
  const auto hidden = static_cast<size_t>(config.hidden_size);
  const auto head_dim = static_cast<size_t>(config.head_dim);
  // h = rms(x): [T][H]
  Matrix h = rms_norm(x, layer.attention_norm, config.rms_norm_eps);
  // q: [T][Nq][D], k and v: [T][Nk][D]
  Matrix q = linear(h, layer.q_weight, layer.q_bias, hidden);
  Matrix k = linear(h, layer.k_weight, layer.k_bias, hidden);
  const Matrix v = linear(h, layer.v_weight, layer.v_bias, hidden);
  rope(q, static_cast<size_t>(config.num_heads), head_dim, frequencies);
  rope(k, static_cast<size_t>(config.num_kv_heads), head_dim, frequencies);
  // a = softmax(q k^T / sqrt(D)) v, causal: [T][Nq * D]
  const Matrix a = attention(q, k, v, config);
  add(x, linear(a, layer.o_weight, {}, static_cast<size_t>(config.q_size())));
  // x + down(silu(gate(h)) * up(h)): gate and up are [T][I]
  h = rms_norm(x, layer.ffn_norm, config.rms_norm_eps);
  Matrix gate = linear(h, layer.gate_weight, {}, hidden);
  const Matrix up = linear(h, layer.up_weight, {}, hidden);
  for (size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1.0 + std::exp(-gate[i]));
  add(x, linear(gate, layer.down_weight, {}, static_cast<size_t>(config.intermediate_size)));
}

Result<ReferenceLayer> load_layer(const TensorSource& source, int32_t index) {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  ReferenceLayer layer;
  const std::pair<const char*, std::vector<float>*> parts[] = {
      {"input_layernorm.weight", &layer.attention_norm},
      {"self_attn.q_proj.weight", &layer.q_weight},
      {"self_attn.q_proj.bias", &layer.q_bias},
      {"self_attn.k_proj.weight", &layer.k_weight},
      {"self_attn.k_proj.bias", &layer.k_bias},
      {"self_attn.v_proj.weight", &layer.v_weight},
      {"self_attn.v_proj.bias", &layer.v_bias},
      {"self_attn.o_proj.weight", &layer.o_weight},
      {"post_attention_layernorm.weight", &layer.ffn_norm},
      {"mlp.gate_proj.weight", &layer.gate_weight},
      {"mlp.up_proj.weight", &layer.up_weight},
      {"mlp.down_proj.weight", &layer.down_weight},
  };
  for (const auto& [name, values] : parts) {
    ASSIGN_OR_RETURN(*values, read_tensor(source, prefix + name));
  }
  return layer;
}

}  // namespace

Result<ReferenceModel> load_reference_model(const TensorSource& source) {
  ReferenceModel model;
  model.config = source.config();
  ASSIGN_OR_RETURN(model.embedding, read_tensor(source, "model.embed_tokens.weight"));
  for (int32_t index = 0; index < model.config.num_layers; ++index) {
    ASSIGN_OR_RETURN(ReferenceLayer layer, load_layer(source, index));
    model.layers.push_back(std::move(layer));
  }
  ASSIGN_OR_RETURN(model.final_norm, read_tensor(source, "model.norm.weight"));
  model.lm_head = model.embedding;
  if (!model.config.tied_embeddings) {
    ASSIGN_OR_RETURN(model.lm_head, read_tensor(source, "lm_head.weight"));
  }
  return model;
}

std::vector<float> reference_forward(const ReferenceModel& model, std::span<const TokenId> tokens,
                                     std::span<const int32_t> rows) {
  const ModelConfig& config = model.config;
  const auto hidden = static_cast<size_t>(config.hidden_size);
  const std::vector<float> frequencies = rope_frequencies(config.head_dim, config.rope_theta);
  // x = embedding of every token: [T][H]
  Matrix x;
  for (const TokenId token : tokens) {
    CHECK(token >= 0 && token < config.vocab_size);
    const float* row = &model.embedding[static_cast<size_t>(token) * hidden];
    x.insert(x.end(), row, row + hidden);
  }
  for (const ReferenceLayer& layer : model.layers) run_layer(x, layer, config, frequencies);
  // logits = lm_head(rms(x)), only for the rows asked for: [rows][V]
  Matrix kept;
  for (const int32_t row : rows) {
    const double* begin = &x[static_cast<size_t>(row) * hidden];
    kept.insert(kept.end(), begin, begin + hidden);
  }
  const Matrix logits =
      linear(rms_norm(kept, model.final_norm, config.rms_norm_eps), model.lm_head, {}, hidden);
  return std::vector<float>(logits.begin(), logits.end());
}

}  // namespace sparrow
