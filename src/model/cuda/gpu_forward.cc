#include "model/cuda/gpu_forward.h"

#include <cmath>

#include "kernels/cuda/linear/choose_linear_kernel.h"
#include "model/rope_frequencies.h"

namespace sparrow {

GpuFloat GpuForward::activation_type(const GpuWeights& weights, const GpuDevice& device) {
  const bool is_f16 = weights.layers.front().gate.format == GpuWeightFormat::kF16;
  return is_f16 || !device.info().has_bf16_matrix_units() ? GpuFloat::kF16 : GpuFloat::kBF16;
}

GpuForward::GpuForward(const ModelConfig& config, GpuDevice& device, const GpuWeights& weights,
                       const GpuKvCache& cache, GpuProducts& products,
                       const GpuWorkspace& workspace, const float* rope, const int32_t* last_tokens,
                       const GpuForwardChoices& choices)
    : config_(config),
      device_(device),
      kernels_(device.kernels()),
      weights_(weights),
      cache_(cache),
      products_(products),
      workspace_(workspace),
      rope_(rope),
      last_tokens_(last_tokens),
      has_matrix_units_(device.info().has_bf16_matrix_units()),
      float_(activation_type(weights, device)) {
  set_choices(choices);
}

void GpuForward::set_choices(const GpuForwardChoices& choices) {
  choices_ = choices;
  card_ = {};
  if (!choices.cut_products_for_card) return;
  card_ = {device_.info().num_sms, device_.info().max_shared_bytes_per_block};
}

std::vector<float> GpuForward::rope_table(const ModelConfig& config, int32_t first_position,
                                          int32_t num_positions) {
  const std::vector<float> frequencies = rope_frequencies(config.head_dim, config.rope_theta);
  const size_t half = frequencies.size();
  std::vector<float> table(static_cast<size_t>(num_positions) * 2 * half);
  for (int32_t index = 0; index < num_positions; ++index) {
    float* row = table.data() + static_cast<size_t>(index) * 2 * half;
    for (size_t i = 0; i < half; ++i) {
      const double angle = rope_angle(first_position + index, frequencies[i]);
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

void GpuForward::queue_layers(const GpuStepData& data, int32_t max_item_rows) {
  is_decode_ = max_item_rows == 1;
  // x = embedding of every token: [T][H]
  EmbedArgs embed;
  embed.embedding = weights_.embedding;
  embed.token_ids = data.token_ids;
  embed.slots = data.slots;
  embed.last_tokens = last_tokens_;
  embed.out = workspace_.x;
  embed.num_rows = data.shape.num_rows;
  kernels_.embed(launch_stream(), embed);
  for (int32_t index = 0; index < config_.num_layers; ++index) {
    const GpuLayerWeights& layer = weights_.layers[static_cast<size_t>(index)];
    queue_attention(layer, cache_.layer(index), data, max_item_rows);
    queue_ffn(layer, data.shape.num_rows);
  }
}

GpuStream GpuForward::launch_stream() const {
  GpuStream stream = device_.stream();
  stream.overlaps_launches =
      is_decode_ && choices_.overlap_launches && device_.info().compute_major >= 9;
  return stream;
}

InputNorm GpuForward::norm_of_x(const float* gain) const {
  return {workspace_.x, nullptr, gain, config_.rms_norm_eps};
}

bool GpuForward::takes_norm(const LinearArgs& args) const {
  return choices_.norm_in_products && takes_input_norm(args);
}

bool GpuForward::takes_norm(const GatedLinearArgs& args) const {
  return choices_.norm_in_products && takes_input_norm(args);
}

void GpuForward::queue_norm(const InputNorm& norm, int32_t num_rows, void* out) {
  RmsNormArgs args;
  args.x = norm.x;
  args.row_of = norm.row_of;
  args.gain = norm.gain;
  args.out = out;
  args.out_type = float_;
  args.num_rows = num_rows;
  args.hidden_size = config_.hidden_size;
  args.eps = norm.eps;
  kernels_.rms_norm(launch_stream(), args);
}

// q, rotated: [T][Nq * D]; k and v into the cache.
void GpuForward::queue_qkv(const GpuLayerWeights& layer, const RopeStoreArgs& rope) {
  const GpuStream stream = launch_stream();
  // qkv = h Wqkv^T + b: [T][(Nq + 2 Nk) * D], h = rms(x, gain)
  const InputNorm norm = norm_of_x(layer.attention_norm);
  LinearArgs qkv;
  qkv.x_type = float_;
  qkv.has_matrix_units = has_matrix_units_;
  qkv.card = card_;
  qkv.num_rows = rope.num_rows;
  qkv.bias = layer.qkv_bias;
  qkv.out = workspace_.qkv;
  qkv.out_stride = config_.q_size() + 2 * config_.kv_size();
  bool has_normalised = false;
  for (const GpuMatrix& matrix : layer.qkv) {
    qkv.matrix = matrix;
    qkv.x = nullptr;
    qkv.norm = norm;
    if (!takes_norm(qkv)) {
      if (!has_normalised) queue_norm(norm, qkv.num_rows, workspace_.hidden);
      has_normalised = true;
      qkv.x = workspace_.hidden;
      qkv.norm = {};
    }
    if (choices_.rope_in_products && takes_rope_store(qkv, rope)) {
      return kernels_.linear_rope_store(stream, qkv, rope);
    }
    products_.linear(stream, ProductSite::kQkv, qkv);
    qkv.bias += matrix.rows;
    qkv.out += matrix.rows;
  }
  kernels_.rope_store(stream, rope);
}

void GpuForward::queue_attention(const GpuLayerWeights& layer, const GpuKvLayer& cache,
                                 const GpuStepData& data, int32_t max_item_rows) {
  const GpuStream stream = launch_stream();
  const int32_t num_rows = data.shape.num_rows;
  const GpuHeads heads{config_.num_heads, config_.num_kv_heads, config_.head_dim};
  RopeStoreArgs rope;
  rope.heads = heads;
  rope.qkv = workspace_.qkv;
  rope.positions = data.positions;
  rope.cells = data.cells;
  rope.rope = rope_;
  rope.q_out = workspace_.q;
  rope.x_type = float_;
  rope.cache = cache;
  rope.num_rows = num_rows;
  queue_qkv(layer, rope);
  // attended = softmax(q k^T / sqrt(D)) v: [T][Nq * D]
  GpuAttentionArgs attention;
  attention.heads = heads;
  attention.cache = cache;
  attention.q = workspace_.q;
  attention.x_type = float_;
  attention.has_matrix_units = has_matrix_units_;
  attention.items = data.items;
  attention.num_items = data.shape.num_items;
  attention.max_item_rows = max_item_rows;
  attention.block_ids = data.block_ids;
  attention.partial_out = workspace_.partial_out;
  attention.partial_max = workspace_.partial_max;
  attention.partial_sum = workspace_.partial_sum;
  if (choices_.merge_in_attention) attention.arrivals = workspace_.arrivals;
  attention.out = workspace_.attended;
  attention.combine = data.combine;
  attention.num_combine = data.shape.num_combine;
  kernels_.attention(stream, attention);
  if (attention.num_combine > 0) kernels_.attention_combine(stream, attention);
  // x = x + attended Wo^T
  LinearArgs o;
  o.matrix = layer.o;
  o.x = workspace_.attended;
  o.x_type = float_;
  o.has_matrix_units = has_matrix_units_;
  o.card = card_;
  o.num_rows = num_rows;
  o.out = workspace_.x;
  o.out_stride = config_.hidden_size;
  o.add_to_out = true;
  products_.linear(stream, ProductSite::kO, o);
}

void GpuForward::queue_ffn(const GpuLayerWeights& layer, int32_t num_rows) {
  const GpuStream stream = launch_stream();
  // activated = silu(h Wgate^T) * (h Wup^T): [T][I]
  GatedLinearArgs gated;
  gated.gate = layer.gate;
  gated.up = layer.up;
  gated.x_type = float_;
  gated.has_matrix_units = has_matrix_units_;
  gated.card = card_;
  gated.num_rows = num_rows;
  gated.out = workspace_.activated;
  gated.norm = norm_of_x(layer.ffn_norm);
  if (!takes_norm(gated)) {
    queue_norm(gated.norm, num_rows, workspace_.hidden);
    gated.x = workspace_.hidden;
    gated.norm = {};
  }
  products_.gated(stream, gated);
  // x = x + activated Wdown^T
  LinearArgs down;
  down.matrix = layer.down;
  down.x = workspace_.activated;
  down.x_type = float_;
  down.has_matrix_units = has_matrix_units_;
  down.card = card_;
  down.num_rows = num_rows;
  down.out = workspace_.x;
  down.out_stride = config_.hidden_size;
  down.add_to_out = true;
  products_.linear(stream, ProductSite::kDown, down);
}

// logits = rms(x, g) Wlm^T: [R][V]
void GpuForward::queue_logits(const int32_t* row_of, int32_t num_rows, float* logits) {
  LinearArgs head;
  head.matrix = weights_.head;
  head.x_type = float_;
  head.has_matrix_units = has_matrix_units_;
  head.card = card_;
  head.num_rows = num_rows;
  head.norm = norm_of_x(weights_.final_norm);
  head.norm.row_of = row_of;
  head.out = logits;
  head.out_stride = config_.vocab_size;
  if (!takes_norm(head)) {
    queue_norm(head.norm, num_rows, workspace_.logit_inputs);
    head.x = workspace_.logit_inputs;
    head.norm = {};
  }
  products_.linear(launch_stream(), ProductSite::kHead, head);
}

}  // namespace sparrow
