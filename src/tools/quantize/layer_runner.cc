#include "tools/quantize/layer_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "kernels/cpu_features.h"
#include "model/cpu_products.h"
#include "model/rope_frequencies.h"
#include "quant/convert_row.h"

namespace sparrow {
namespace {

// A matrix whose values are kept as they are, for products of fp32 activations.
TensorType plain_type_of(TensorType type) {
  return type == TensorType::kBF16 || type == TensorType::kF16 ? type : TensorType::kF32;
}

}  // namespace

struct LayerRunner::Layer {
  std::vector<float> attention_norm, ffn_norm;  // [H]
  std::vector<float> q_bias, k_bias, v_bias;
  PackedMatrix q, k, v, o, gate, up, down;
};

// Rows of one window, T of them at most.
struct LayerRunner::Window {
  int64_t rows = 0;
  std::vector<float> hidden;             // [T][H]
  std::vector<float> q, k, v, attended;  // [T][Nq * D], [T][Nk * D] twice, [T][Nq * D]
  std::vector<float> gate, up;           // [T][I]
  std::vector<float> scores;             // [T][T] of one head
  std::vector<float> transposed;         // [D][T]: V of one head
  std::vector<float> residual_rms;       // [T]
  std::vector<float> cosines, sines;     // [T][D / 2]
};

void multiply_plain(const Kernels& kernels, ComputePool& pool, const PackedMatrix& weights,
                    const float* inputs, int64_t num_tokens, const float* bias, bool accumulate,
                    float* out) {
  ActivationsView view;
  view.num_tokens = num_tokens;
  view.plain = inputs;
  view.plain_stride = weights.cols();
  const Product product{&weights, bias, out, accumulate};
  run_products(kernels, pool, view, {&product, 1});
}

LayerRunner::LayerRunner(const TensorSource& source, ComputePool& pool)
    : source_(source), config_(source.config()), pool_(pool) {}
LayerRunner::~LayerRunner() = default;

Result<std::unique_ptr<LayerRunner>> LayerRunner::create(const TensorSource& source,
                                                         std::span<const TokenId> tokens,
                                                         int64_t window_tokens, ComputePool& pool) {
  std::unique_ptr<LayerRunner> runner(new LayerRunner(source, pool));
  CHECK(!tokens.empty() && window_tokens >= 1);
  const ModelConfig& config = runner->config_;
  ASSIGN_OR_RETURN(runner->kernels_, select_kernels(""));
  runner->num_tokens_ = static_cast<int64_t>(tokens.size());
  runner->window_tokens_ = std::min(window_tokens, runner->num_tokens_);
  runner->layer_ = std::make_unique<Layer>();
  runner->window_ = std::make_unique<Window>();
  Window& window = *runner->window_;
  const int64_t rows = runner->window_tokens_;
  const std::pair<std::vector<float>*, int64_t> buffers[] = {
      {&window.hidden, config.hidden_size},   {&window.q, config.q_size()},
      {&window.k, config.kv_size()},          {&window.v, config.kv_size()},
      {&window.attended, config.q_size()},    {&window.gate, config.intermediate_size},
      {&window.up, config.intermediate_size}, {&window.scores, rows},
      {&window.transposed, config.head_dim},  {&window.residual_rms, 1},
      {&window.cosines, config.head_dim / 2}, {&window.sines, config.head_dim / 2},
  };
  int64_t floats = runner->num_tokens_ * config.hidden_size;
  for (const auto& [buffer, cols] : buffers) {
    buffer->resize(static_cast<size_t>(rows * cols));
    floats += rows * cols;
  }
  runner->memory_bytes_ = floats * static_cast<int64_t>(sizeof(float));
  RETURN_IF_ERROR(runner->embed(tokens));
  const std::vector<float> frequencies = rope_frequencies(config.head_dim, config.rope_theta);
  for (int64_t row = 0; row < rows; ++row) {
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const double angle = rope_angle(static_cast<int32_t>(row), frequencies[i]);
      const size_t at = static_cast<size_t>(row) * frequencies.size() + i;
      window.cosines[at] = static_cast<float>(std::cos(angle));
      window.sines[at] = static_cast<float>(std::sin(angle));
    }
  }
  return runner;
}

Status LayerRunner::embed(std::span<const TokenId> tokens) {
  ASSIGN_OR_RETURN(const SourceTensor table, source_.tensor("model.embed_tokens.weight"));
  x_.resize(tokens.size() * static_cast<size_t>(table.cols));
  for (size_t i = 0; i < tokens.size(); ++i) {
    CHECK(tokens[i] >= 0 && tokens[i] < table.rows);
    dequantize_row(table.type,
                   table.bytes.data() + static_cast<size_t>(tokens[i]) * table.row_bytes(),
                   table.cols, x_.data() + i * static_cast<size_t>(table.cols));
  }
  source_.release(table);
  return ok_status();
}

Status LayerRunner::load_matrix(const std::string& name, PackedMatrix& out) {
  ASSIGN_OR_RETURN(const SourceTensor tensor, source_.tensor(name));
  if (first_non_finite(tensor.type, tensor.bytes) >= 0) {
    return data_loss(fmt::format("tensor {}: a value or scale is not a finite number", name));
  }
  const TensorType type = plain_type_of(tensor.type);
  out = PackedMatrix();
  ASSIGN_OR_RETURN(out, PackedMatrix::allocate(weight_format_for(type), tensor.rows, tensor.cols));
  std::vector<Status> failures(static_cast<size_t>(out.num_strips()));
  pool_.parallel_for(out.num_strips(), [&](int64_t strip, int) {
    const int64_t begin = strip * kStripRows;
    const int64_t rows = std::min<int64_t>(kStripRows, tensor.rows - begin);
    const std::span<const std::byte> bytes =
        tensor.bytes.subspan(static_cast<size_t>(begin) * tensor.row_bytes(),
                             static_cast<size_t>(rows) * tensor.row_bytes());
    if (type == tensor.type) {
      failures[static_cast<size_t>(strip)] = out.pack_rows(begin, rows, type, bytes);
      return;
    }
    std::vector<float> values(static_cast<size_t>(rows * tensor.cols));
    for (int64_t row = 0; row < rows; ++row) {
      dequantize_row(tensor.type, bytes.data() + static_cast<size_t>(row) * tensor.row_bytes(),
                     tensor.cols, values.data() + row * tensor.cols);
    }
    failures[static_cast<size_t>(strip)] =
        out.pack_rows(begin, rows, type, std::as_bytes(std::span(values)));
  });
  source_.release(tensor);
  for (Status& failure : failures) {
    if (!failure.ok()) return Status(failure.code(), name + ": " + failure.message());
  }
  return ok_status();
}

Status LayerRunner::load_vector(const std::string& name, std::vector<float>& out) {
  ASSIGN_OR_RETURN(const SourceTensor tensor, source_.tensor(name));
  if (first_non_finite(tensor.type, tensor.bytes) >= 0) {
    return data_loss(fmt::format("tensor {}: a value is not a finite number", name));
  }
  out.resize(static_cast<size_t>(tensor.cols));
  dequantize_row(tensor.type, tensor.bytes.data(), tensor.cols, out.data());
  source_.release(tensor);
  return ok_status();
}

Status LayerRunner::load_layer(int32_t index) {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  Layer& layer = *layer_;
  const std::pair<const char*, std::vector<float>*> vectors[] = {
      {"input_layernorm.weight", &layer.attention_norm},
      {"post_attention_layernorm.weight", &layer.ffn_norm},
      {"self_attn.q_proj.bias", &layer.q_bias},
      {"self_attn.k_proj.bias", &layer.k_bias},
      {"self_attn.v_proj.bias", &layer.v_bias},
  };
  const std::pair<const char*, PackedMatrix*> matrices[] = {
      {"self_attn.q_proj.weight", &layer.q}, {"self_attn.k_proj.weight", &layer.k},
      {"self_attn.v_proj.weight", &layer.v}, {"self_attn.o_proj.weight", &layer.o},
      {"mlp.gate_proj.weight", &layer.gate}, {"mlp.up_proj.weight", &layer.up},
      {"mlp.down_proj.weight", &layer.down},
  };
  for (const auto& [name, out] : vectors) RETURN_IF_ERROR(load_vector(prefix + name, *out));
  int64_t bytes = 0;
  for (const auto& [name, out] : matrices) {
    RETURN_IF_ERROR(load_matrix(prefix + name, *out));
    bytes += out->bytes();
  }
  if (index == 0) memory_bytes_ += bytes;
  return ok_status();
}

Status LayerRunner::run_layer(int32_t index, const Inputs& inputs) {
  RETURN_IF_ERROR(load_layer(index));
  for (int64_t begin = 0; begin < num_tokens_; begin += window_tokens_) {
    RETURN_IF_ERROR(run_window(begin, inputs));
  }
  return ok_status();
}

// hidden = rms(x, gain): [T][H]
void LayerRunner::normalise(const float* x, const std::vector<float>& gain) {
  const int64_t hidden = config_.hidden_size;
  pool_.parallel_for(window_->rows, [&](int64_t row, int) {
    kernels_->rms_norm(x + row * hidden, gain.data(), hidden, config_.rms_norm_eps,
                       window_->hidden.data() + row * hidden);
  });
}

Status LayerRunner::run_window(int64_t begin, const Inputs& inputs) {
  const Layer& layer = *layer_;
  Window& window = *window_;
  window.rows = std::min(window_tokens_, num_tokens_ - begin);
  const int64_t rows = window.rows;
  float* x = x_.data() + begin * config_.hidden_size;
  const auto multiply = [&](const PackedMatrix& weights, const std::vector<float>& in,
                            const float* bias, bool accumulate, float* out) {
    multiply_plain(*kernels_, pool_, weights, in.data(), rows, bias, accumulate, out);
  };
  normalise(x, layer.attention_norm);
  RETURN_IF_ERROR(inputs(LayerInput::kQkv, begin, rows, window.hidden.data(), nullptr));
  multiply(layer.q, window.hidden, layer.q_bias.data(), false, window.q.data());
  multiply(layer.k, window.hidden, layer.k_bias.data(), false, window.k.data());
  multiply(layer.v, window.hidden, layer.v_bias.data(), false, window.v.data());
  const int32_t head_dim = config_.head_dim;
  pool_.parallel_for(rows, [&](int64_t row, int) {
    const float* cosines = window.cosines.data() + row * (head_dim / 2);
    const float* sines = window.sines.data() + row * (head_dim / 2);
    kernels_->rope(window.q.data() + row * config_.q_size(), head_dim, config_.num_heads, head_dim,
                   cosines, sines);
    kernels_->rope(window.k.data() + row * config_.kv_size(), head_dim, config_.num_kv_heads,
                   head_dim, cosines, sines);
  });
  RETURN_IF_ERROR(attend());
  multiply(layer.o, window.attended, nullptr, true, x);
  measure_residual(x);
  RETURN_IF_ERROR(
      inputs(LayerInput::kO, begin, rows, window.attended.data(), window.residual_rms.data()));
  normalise(x, layer.ffn_norm);
  RETURN_IF_ERROR(inputs(LayerInput::kGateUp, begin, rows, window.hidden.data(), nullptr));
  multiply(layer.gate, window.hidden, nullptr, false, window.gate.data());
  multiply(layer.up, window.hidden, nullptr, false, window.up.data());
  const int64_t intermediate = config_.intermediate_size;
  pool_.parallel_for(rows, [&](int64_t row, int) {
    float* gate = window.gate.data() + row * intermediate;
    kernels_->silu_mul(gate, window.up.data() + row * intermediate, intermediate, gate);
  });
  multiply(layer.down, window.gate, nullptr, true, x);
  measure_residual(x);
  return inputs(LayerInput::kDown, begin, rows, window.gate.data(), window.residual_rms.data());
}

void LayerRunner::measure_residual(const float* x) {
  const auto hidden = static_cast<size_t>(config_.hidden_size);
  pool_.parallel_for(window_->rows, [&](int64_t row, int) {
    const float* values = x + static_cast<size_t>(row) * hidden;
    const double squares = std::inner_product(values, values + hidden, values, 0.0);
    window_->residual_rms[static_cast<size_t>(row)] = static_cast<float>(
        std::sqrt(squares / static_cast<double>(hidden) + double{config_.rms_norm_eps}));
  });
}

// attended = softmax(q k^T / sqrt(D)) v, causal inside the window: [T][Nq][D]
Status LayerRunner::attend() {
  Window& window = *window_;
  const int64_t rows = window.rows, head_dim = config_.head_dim, kv_size = config_.kv_size();
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  for (float& value : window.q) value *= scale;
  for (int32_t kv_head = 0; kv_head < config_.num_kv_heads; ++kv_head) {
    // Both products are those of packed matrices: K [T][D] as it is, V as [D][T].
    ASSIGN_OR_RETURN(PackedMatrix k, PackedMatrix::allocate(WeightFormat::kF32, rows, head_dim));
    ASSIGN_OR_RETURN(PackedMatrix v, PackedMatrix::allocate(WeightFormat::kF32, head_dim, rows));
    std::vector<float> keys(static_cast<size_t>(rows * head_dim));
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t from = row * kv_size + kv_head * head_dim;
      std::copy_n(window.k.data() + from, head_dim, keys.data() + row * head_dim);
      for (int64_t i = 0; i < head_dim; ++i) {
        window.transposed[static_cast<size_t>(i * rows + row)] =
            window.v[static_cast<size_t>(from + i)];
      }
    }
    RETURN_IF_ERROR(k.pack_rows(0, rows, TensorType::kF32, std::as_bytes(std::span(keys))));
    const std::span<const float> values(window.transposed.data(),
                                        static_cast<size_t>(rows * head_dim));
    RETURN_IF_ERROR(v.pack_rows(0, head_dim, TensorType::kF32, std::as_bytes(values)));
    for (int32_t i = 0; i < config_.group_size(); ++i) {
      attend_head(k, v, kv_head * config_.group_size() + i);
    }
  }
  return ok_status();
}

void LayerRunner::attend_head(const PackedMatrix& k, const PackedMatrix& v, int32_t head) {
  Window& window = *window_;
  const int64_t rows = window.rows, head_dim = config_.head_dim, q_size = config_.q_size();
  GemmArgs scores;  // [T][T]
  scores.weights = k.view();
  scores.inputs.num_tokens = rows;
  scores.inputs.plain = window.q.data() + head * head_dim;
  scores.inputs.plain_stride = q_size;
  scores.out = window.scores.data();
  scores.out_stride = rows;
  pool_.parallel_for(k.num_strips(), [&](int64_t strip, int) {
    GemmArgs part = scores;
    part.strip_begin = strip;
    part.strip_end = strip + 1;
    kernels_->gemm(part);
  });
  pool_.parallel_for(rows, [&](int64_t row, int) {
    float* weights = window.scores.data() + row * rows;
    const int64_t seen = row + 1;
    const float maximum = *std::max_element(weights, weights + seen);
    const float inverse = 1.0f / kernels_->exp_sum(weights, seen, maximum);
    for (int64_t i = 0; i < seen; ++i) weights[i] *= inverse;
    std::fill(weights + seen, weights + rows, 0.0f);
  });
  GemmArgs sums;  // [T][D]
  sums.weights = v.view();
  sums.inputs.num_tokens = rows;
  sums.inputs.plain = window.scores.data();
  sums.inputs.plain_stride = rows;
  sums.out = window.attended.data() + head * head_dim;
  sums.out_stride = q_size;
  pool_.parallel_for(v.num_strips(), [&](int64_t strip, int) {
    GemmArgs part = sums;
    part.strip_begin = strip;
    part.strip_end = strip + 1;
    kernels_->gemm(part);
  });
}

}  // namespace sparrow
