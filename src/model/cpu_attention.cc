#include "model/cpu_attention.h"

#include <algorithm>
#include <cmath>

namespace sparrow {
namespace {

constexpr int32_t kChunkBlocks = kAttentionChunk / kKvBlockTokens;

int32_t num_chunks_before(int32_t num_visible) {
  return (num_visible + kAttentionChunk - 1) / kAttentionChunk;
}

}  // namespace

struct CpuAttention::Layer {
  const Kernels& kernels;
  const CpuKvCache& cache;
  int32_t index;
  CpuWorkspace& workspace;
};

CpuAttention::CpuAttention(const ModelConfig& config, const WorkspaceSizes& sizes)
    : num_heads_(config.num_heads),
      num_kv_heads_(config.num_kv_heads),
      group_(config.group_size()),
      head_dim_(config.head_dim),
      scale_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)))),
      partial_floats_(attention_partial_floats(config.head_dim)),
      max_split_chunks_(sizes.max_split_chunks),
      num_threads_(sizes.num_threads) {
  tasks_.reserve(static_cast<size_t>(sizes.max_rows + sizes.max_split_chunks));
  split_rows_.reserve(static_cast<size_t>(sizes.max_rows));
}

void CpuAttention::prepare(const BatchPlan& plan) {
  tasks_.clear();
  split_rows_.clear();
  num_split_chunks_ = 0;
  int64_t num_units = 0;
  for (const Span& span : plan.spans) {
    num_units += (span.num_tokens + kAttentionTileRows - 1) / kAttentionTileRows * num_kv_heads_;
  }
  const bool may_split = num_units < 2 * num_threads_;
  for (const Span& span : plan.spans) add_span(plan, span, may_split);
}

void CpuAttention::add_span(const BatchPlan& plan, const Span& span, bool may_split) {
  Task task;
  task.blocks = plan.block_ids.data() + span.block_begin;
  const int32_t num_chunks = num_chunks_before(span.first_position + span.num_tokens);
  if (may_split && span.num_tokens == 1 && num_chunks > 1 &&
      num_split_chunks_ + num_chunks <= max_split_chunks_) {
    task.row_begin = span.token_begin;
    task.num_rows = 1;
    task.position = span.first_position;
    split_rows_.push_back({span.token_begin, num_split_chunks_, num_chunks});
    for (task.chunk = 0; task.chunk < num_chunks; ++task.chunk) {
      task.split_index = num_split_chunks_++;
      tasks_.push_back(task);
    }
    return;
  }
  for (int32_t row = 0; row < span.num_tokens; row += kAttentionTileRows) {
    task.row_begin = span.token_begin + row;
    task.num_rows = std::min(kAttentionTileRows, span.num_tokens - row);
    task.position = span.first_position + row;
    tasks_.push_back(task);
  }
}

void CpuAttention::run(const Kernels& kernels, ComputePool& pool, const CpuKvCache& cache,
                       int32_t layer_index, CpuWorkspace& workspace) const {
  const Layer layer{kernels, cache, layer_index, workspace};
  const auto num_tasks = static_cast<int64_t>(tasks_.size());
  pool.parallel_for(num_tasks * num_kv_heads_, [&](int64_t index, int worker) {
    const Task& task = tasks_[static_cast<size_t>(index / num_kv_heads_)];
    const auto kv_head = static_cast<int32_t>(index % num_kv_heads_);
    if (task.chunk < 0) {
      run_tile(layer, task, kv_head, worker);
    } else {
      run_chunk(layer, task, kv_head, worker);
    }
  });
  const auto num_joins = static_cast<int64_t>(split_rows_.size()) * num_heads_;
  pool.parallel_for(num_joins, [&](int64_t index, int) {
    join_split(layer, split_rows_[static_cast<size_t>(index / num_heads_)],
               static_cast<int32_t>(index % num_heads_));
  });
}

void CpuAttention::run_tile(const Layer& layer, const Task& task, int32_t kv_head,
                            int worker) const {
  const int64_t tile_floats = kAttentionTileRows * group_ * partial_floats_;
  float* running = layer.workspace.tile_partials.as<float>() + worker * 2 * tile_floats;
  float* next = running + tile_floats;
  AttentionArgs args;
  args.q_stride = head_dim_;
  args.num_heads = group_;
  args.head_dim = head_dim_;
  args.scale = scale_;
  args.cache = layer.cache.head_base(layer.index, kv_head);
  args.block_stride = layer.cache.block_stride();
  args.type = layer.cache.type();
  args.partial_stride = partial_floats_;
  const float* q = layer.workspace.q.as<float>() + int64_t{kv_head} * group_ * head_dim_;
  const int32_t num_chunks = num_chunks_before(task.position + task.num_rows);
  for (int32_t chunk = 0; chunk < num_chunks; ++chunk) {
    args.block_ids = task.blocks + chunk * kChunkBlocks;
    for (int32_t row = 0; row < task.num_rows; ++row) {
      const int32_t num_visible = task.position + row + 1 - chunk * kAttentionChunk;
      if (num_visible <= 0) continue;
      args.num_tokens = std::min(num_visible, kAttentionChunk);
      args.q = q + int64_t{task.row_begin + row} * num_heads_ * head_dim_;
      float* sums = running + row * group_ * partial_floats_;
      args.partials = chunk == 0 ? sums : next;
      set_score_bias(layer, kv_head, chunk, worker, args);
      layer.kernels.attention_chunk(args);
      if (chunk == 0) continue;
      for (int32_t head = 0; head < group_; ++head) {
        layer.kernels.attention_merge(sums + head * partial_floats_, next + head * partial_floats_,
                                      head_dim_);
      }
    }
  }
  float* out = layer.workspace.attended.plain.as<float>() + int64_t{kv_head} * group_ * head_dim_;
  for (int32_t row = 0; row < task.num_rows; ++row) {
    for (int32_t head = 0; head < group_; ++head) {
      layer.kernels.attention_finish(
          running + (int64_t{row} * group_ + head) * partial_floats_, head_dim_,
          out + (int64_t{task.row_begin + row} * num_heads_ + head) * head_dim_);
    }
  }
}

void CpuAttention::run_chunk(const Layer& layer, const Task& task, int32_t kv_head,
                             int worker) const {
  AttentionArgs args;
  args.q = layer.workspace.q.as<float>() +
           (int64_t{task.row_begin} * num_heads_ + int64_t{kv_head} * group_) * head_dim_;
  args.q_stride = head_dim_;
  args.num_heads = group_;
  args.head_dim = head_dim_;
  args.scale = scale_;
  args.cache = layer.cache.head_base(layer.index, kv_head);
  args.block_stride = layer.cache.block_stride();
  args.block_ids = task.blocks + task.chunk * kChunkBlocks;
  args.num_tokens = std::min(task.position + 1 - task.chunk * kAttentionChunk, kAttentionChunk);
  args.type = layer.cache.type();
  args.partials =
      layer.workspace.split_partials.as<float>() +
      (int64_t{task.split_index} * num_heads_ + int64_t{kv_head} * group_) * partial_floats_;
  args.partial_stride = partial_floats_;
  set_score_bias(layer, kv_head, task.chunk, worker, args);
  layer.kernels.attention_chunk(args);
}

// What the K bias adds to the scores of args' queries and tokens.
void CpuAttention::set_score_bias(const Layer& layer, int32_t kv_head, int32_t chunk, int worker,
                                  AttentionArgs& args) const {
  const CpuKeyBias& bias = layer.cache.key_bias();
  if (!bias.active()) return;
  float* out = layer.workspace.score_bias.as<float>() + int64_t{worker} * group_ * kAttentionChunk;
  const bool any = bias.add_scores(layer.kernels, layer.index, kv_head, chunk, args.num_tokens,
                                   args.q, group_, out);
  args.score_bias = any ? out : nullptr;
  args.score_bias_stride = kAttentionChunk;
}

void CpuAttention::join_split(const Layer& layer, const SplitRow& split, int32_t head) const {
  const int64_t stride = num_heads_ * partial_floats_;
  float* running = layer.workspace.split_partials.as<float>() + split.split_begin * stride +
                   head * partial_floats_;
  for (int32_t chunk = 1; chunk < split.num_chunks; ++chunk) {
    layer.kernels.attention_merge(running, running + chunk * stride, head_dim_);
  }
  float* out = layer.workspace.attended.plain.as<float>();
  layer.kernels.attention_finish(running, head_dim_,
                                 out + (int64_t{split.row} * num_heads_ + head) * head_dim_);
}

}  // namespace sparrow
