#include "model/cuda/plans/gpu_memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "model/cuda/plans/gpu_matrix_format.h"
#include "model/cuda/plans/gpu_option_checks.h"
#include "model/cuda/plans/graph_buckets.h"
#include "model/cuda/plans/shape_tensor_source.h"

namespace sparrow {
namespace {

constexpr int64_t kSmallestContext = kAttentionBlockTokens;

std::string gigabytes(int64_t bytes) {
  return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9);
}

int64_t aligned(int64_t bytes) {
  return (bytes + kGpuAlignment - 1) / kGpuAlignment * kGpuAlignment;
}

int64_t share_of(double utilization, int64_t total_bytes) {
  return static_cast<int64_t>(utilization * static_cast<double>(total_bytes));
}

// Shares as people write them: hundredths. The largest that is at most `bytes`; 0: none.
double largest_share_within(int64_t bytes, int64_t total_bytes) {
  auto percent =
      static_cast<int>(100 * static_cast<double>(bytes) / static_cast<double>(total_bytes)) + 1;
  percent = std::min(percent, 100);
  while (percent > 0 && share_of(percent / 100.0, total_bytes) > bytes) --percent;
  return percent / 100.0;
}

// The smallest one that holds `bytes`; above 1: none.
double smallest_share_of(int64_t bytes, int64_t total_bytes) {
  if (bytes > total_bytes) return 2;
  auto percent =
      static_cast<int>(100 * static_cast<double>(bytes) / static_cast<double>(total_bytes));
  while (percent < 101 && share_of(percent / 100.0, total_bytes) < bytes) ++percent;
  return percent / 100.0;
}

Result<std::string> weights_text(const TensorSource& source, const GpuExecutorOptions& options) {
  const bool tied = source.config().tied_embeddings;
  const auto format_of = [&](const char* name) -> Result<std::string> {
    ASSIGN_OR_RETURN(const SourceTensor tensor, source.describe(name));
    return gpu_matrix_format_name(gpu_matrix_format(name, tensor, tied, options));
  };
  const char* embedding_name = "model.embed_tokens.weight";
  ASSIGN_OR_RETURN(const std::string layer, format_of("model.layers.0.mlp.gate_proj.weight"));
  ASSIGN_OR_RETURN(const std::string embedding, format_of(embedding_name));
  if (tied) return fmt::format("{}, embedding and head {}", layer, embedding);
  ASSIGN_OR_RETURN(const std::string head, format_of("lm_head.weight"));
  return fmt::format("{}, head {}, embedding {}", layer, head, embedding);
}

bool has_integer_layers(const TensorSource& source, const GpuExecutorOptions& options) {
  const bool tied = source.config().tied_embeddings;
  for (const LayoutTensor& layout : qwen2_tensor_layout(source.config())) {
    if (layout.is_vector || layout.name.rfind("model.layers.", 0) != 0) continue;
    const Result<SourceTensor> tensor = source.describe(layout.name);
    if (!tensor.ok()) continue;  // told when the bytes are counted
    const GpuWeightFormat type = gpu_matrix_format(layout.name, *tensor, tied, options).type;
    if (type == GpuWeightFormat::kInt8 || type == GpuWeightFormat::kInt4) return true;
  }
  return false;
}

// Options are checked, the share is free.
class Planner {
 public:
  Planner(const ModelConfig& config, const GpuExecutorOptions& options, const GpuDeviceInfo& device,
          const TensorSource& source, int64_t weights_bytes)
      : config_(config),
        options_(options),
        device_(device),
        source_(source),
        weights_bytes_(weights_bytes),
        expands_matrices_(has_integer_layers(source, options)),
        budget_(share_of(options.memory_utilization, device.total_bytes)),
        block_bytes_(gpu_kv_bytes_per_token(config, options.kv_type) * kAttentionBlockTokens) {
    if (!options.enforce_eager) {
      max_graph_rows_ =
          std::min({options.num_slots, options.max_batch_tokens, options.max_logit_rows});
      const GraphBuckets buckets(max_graph_rows_);
      num_graphs_ = static_cast<int32_t>(buckets.sizes().size());
    }
    reserve_bytes_ = gpu_context_bytes(device) + kGpuGraphBytes * num_graphs_;
    if (has_library()) reserve_bytes_ += kGpuLibraryBytes;
  }

  Result<GpuMemoryPlan> plan() const {
    if (options_.kv_cache_bytes > 0) RETURN_IF_ERROR(check_kv_cache_bytes());
    if (!fits(kSmallestContext)) return nothing_fits();
    // Workspace and KV cache grow with the context: the longest that fits, in whole blocks.
    int64_t low = 1, high = blocks_of(config_.max_position);
    while (low < high) {
      const int64_t middle = (low + high + 1) / 2;
      if (fits(context_of(middle))) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    if (options_.max_context > context_of(low)) return context_too_long(context_of(low));
    const int64_t context = options_.max_context > 0 ? options_.max_context : context_of(low);
    return filled(context);
  }

 private:
  static int64_t blocks_of(int64_t tokens) {
    return (tokens + kAttentionBlockTokens - 1) / kAttentionBlockTokens;
  }
  int64_t context_of(int64_t num_blocks) const {
    return std::min<int64_t>(num_blocks * kAttentionBlockTokens, config_.max_position);
  }

  bool has_library() const { return options_.product_library != "off"; }

  GpuWorkspaceSizes sizes_for(int64_t context) const {
    GpuWorkspaceSizes sizes;
    sizes.max_rows = options_.max_batch_tokens;
    sizes.max_logit_rows = std::min(options_.max_logit_rows, options_.max_batch_tokens);
    sizes.num_slots = options_.num_slots;
    sizes.max_graph_rows = max_graph_rows_;
    if (has_library()) {
      constexpr int kHopper = 9;
      sizes.product_workspace_bytes = device_.compute_major >= kHopper
                                          ? kGpuProductWorkspaceBytes
                                          : kGpuProductWorkspaceBytesBeforeHopper;
      sizes.expands_matrices = expands_matrices_;
    }
    sizes.attention.num_kv_heads = config_.num_kv_heads;
    sizes.attention.num_sms = device_.num_sms;
    sizes.attention.max_rows = options_.max_batch_tokens;
    sizes.attention.max_spans = std::min(options_.num_slots, options_.max_batch_tokens);
    sizes.attention.max_context = static_cast<int32_t>(context);
    sizes.attention.batch_invariant = options_.batch_invariant;
    return sizes;
  }

  // All but the KV cache.
  int64_t fixed_bytes(int64_t context) const {
    return weights_bytes_ + reserve_bytes_ +
           make_gpu_workspace_layout(config_, sizes_for(context)).total_bytes;
  }
  int64_t wanted_blocks(int64_t context) const {
    return options_.kv_cache_bytes > 0 ? options_.kv_cache_bytes / block_bytes_
                                       : blocks_of(context);
  }
  int64_t needed_bytes(int64_t context) const {
    return fixed_bytes(context) + wanted_blocks(context) * block_bytes_;
  }
  bool fits(int64_t context) const {
    const GpuWorkspaceSizes sizes = sizes_for(context);
    constexpr int64_t kMaxIndex = std::numeric_limits<int32_t>::max();
    return needed_bytes(context) <= budget_ && wanted_blocks(context) >= blocks_of(context) &&
           sizes.attention.max_items() <= kMaxIndex && sizes.attention.max_partials() <= kMaxIndex;
  }

  Result<GpuMemoryPlan> filled(int64_t context) const {
    GpuMemoryPlan plan;
    plan.max_context = static_cast<int32_t>(context);
    plan.num_graphs = num_graphs_;
    plan.weights_bytes = weights_bytes_;
    plan.reserve_bytes = reserve_bytes_;
    plan.sizes = sizes_for(context);
    plan.workspace = make_gpu_workspace_layout(config_, plan.sizes);
    plan.workspace_bytes = plan.workspace.total_bytes;
    int64_t blocks = wanted_blocks(context);
    if (options_.kv_cache_bytes == 0) {
      blocks = std::min((budget_ - fixed_bytes(context)) / block_bytes_,
                        options_.num_slots * blocks_of(context));
    }
    plan.num_blocks = static_cast<int32_t>(
        std::min<int64_t>(blocks, std::numeric_limits<int32_t>::max() / kAttentionBlockTokens));
    plan.kv_bytes = plan.num_blocks * block_bytes_;
    plan.budget_bytes = budget_;
    plan.kv_bytes_per_token = block_bytes_ / kAttentionBlockTokens;
    ASSIGN_OR_RETURN(plan.weights_text, weights_text(source_, options_));
    plan.device = device_;
    plan.options = options_;
    CHECK(plan.total_bytes() <= budget_ && plan.total_bytes() <= gpu_usable_bytes(device_));
    return plan;
  }

  // The context that was asked for, or the least one.
  int64_t least_context() const {
    return options_.max_context > 0 ? options_.max_context : kSmallestContext;
  }

  Status check_kv_cache_bytes() const {
    const int64_t context = least_context(), least = blocks_of(context) * block_bytes_;
    if (options_.kv_cache_bytes < least) {
      return resource_exhausted(fmt::format(
          "--kv-cache-memory-bytes {} holds less than one sequence of {} tokens: raise it to {}",
          options_.kv_cache_bytes, context, least));
    }
    const int64_t room = budget_ - fixed_bytes(context);
    if (room >= least && wanted_blocks(context) * block_bytes_ > room) {
      return resource_exhausted(fmt::format(
          "--kv-cache-memory-bytes {}: weights {}, workspace and reserve leave {} of the {} that "
          "--gpu-memory-utilization {} allows: lower it to {}",
          options_.kv_cache_bytes, gigabytes(weights_bytes_), gigabytes(room), gigabytes(budget_),
          options_.memory_utilization, room / block_bytes_ * block_bytes_));
    }
    return ok_status();
  }

  // ": raise --gpu-memory-utilization to 0.95", when that much is free.
  std::string hint_of_share(int64_t needed) const {
    const double share = smallest_share_of(needed, device_.total_bytes);
    if (share > 1 || share_of(share, device_.total_bytes) > gpu_usable_bytes(device_)) return "";
    return fmt::format("raise --gpu-memory-utilization to {:.2f}", share);
  }

  // The largest format that makes it fit: all matrices in it.
  std::string hint_of_format(int64_t excess) const {
    for (const auto& [format, name] :
         {std::pair(GpuWeightFormat::kInt8, "int8"), std::pair(GpuWeightFormat::kInt4, "int4")}) {
      GpuExecutorOptions smaller = options_;
      smaller.weight_format = smaller.head_format = smaller.embedding_format = format;
      const Result<int64_t> bytes = gpu_weights_bytes(source_, smaller);
      if (bytes.ok() && *bytes <= weights_bytes_ - excess) {
        return fmt::format("take weights of a smaller format: {} needs {}", name,
                           gigabytes(*bytes));
      }
    }
    return "";
  }

  Status nothing_fits() const {
    const int64_t context = least_context(), needed = needed_bytes(context);
    const std::string share = hint_of_share(needed);
    const std::string format = hint_of_format(needed - budget_);
    std::string hint = share.empty() || format.empty() ? share + format : share + ", or " + format;
    if (hint.empty()) {
      hint =
          "lower --max-num-seqs, --max-num-batched-tokens or --max-model-len, or take a smaller "
          "model or a larger card";
    }
    return resource_exhausted(fmt::format(
        "weights {}, workspace {}, {} for CUDA itself and {} of KV cache make {}, but "
        "--gpu-memory-utilization {} of {} is {}: {}",
        gigabytes(weights_bytes_),
        gigabytes(fixed_bytes(context) - weights_bytes_ - reserve_bytes_),
        gigabytes(reserve_bytes_), gigabytes(needed - fixed_bytes(context)), gigabytes(needed),
        options_.memory_utilization, gigabytes(device_.total_bytes), gigabytes(budget_), hint));
  }

  Status context_too_long(int64_t longest) const {
    const int64_t needed = needed_bytes(options_.max_context);
    std::string hint = hint_of_share(needed);
    if (!hint.empty()) hint = ", or " + hint;
    return resource_exhausted(fmt::format(
        "--max-model-len {} needs {} of KV cache; with weights {}, workspace and reserve that is "
        "{} of the {} that --gpu-memory-utilization {} allows: lower --max-model-len to {}{}",
        options_.max_context, gigabytes(blocks_of(options_.max_context) * block_bytes_),
        gigabytes(weights_bytes_), gigabytes(needed), gigabytes(budget_),
        options_.memory_utilization, longest, hint));
  }

  const ModelConfig& config_;
  const GpuExecutorOptions& options_;
  const GpuDeviceInfo& device_;
  const TensorSource& source_;
  const int64_t weights_bytes_;
  const bool expands_matrices_;
  const int64_t budget_;
  const int64_t block_bytes_;
  int32_t max_graph_rows_ = 0;  // logits of a graph's rows are held at once
  int32_t num_graphs_ = 0;
  int64_t reserve_bytes_ = 0;
};

// The share is not free: the largest one that is, if a plan fits into it.
Status share_not_free(const ModelConfig& config, const GpuExecutorOptions& options,
                      const GpuDeviceInfo& device, const TensorSource& source) {
  const double share = largest_share_within(gpu_usable_bytes(device), device.total_bytes);
  std::string text =
      fmt::format("--gpu-memory-utilization {} of {} wants {}, but only {} are free",
                  options.memory_utilization, gigabytes(device.total_bytes),
                  gigabytes(share_of(options.memory_utilization, device.total_bytes)),
                  gigabytes(device.free_bytes));
  if (share <= 0) {
    return resource_exhausted(text + ": stop what else uses the card, or choose another one");
  }
  GpuExecutorOptions lower = options;
  lower.memory_utilization = share;
  CHECK(share_of(share, device.total_bytes) <=
        gpu_usable_bytes(device));  // else this would not end
  const Result<GpuMemoryPlan> plan = plan_gpu_memory(config, lower, device, &source);
  if (plan.ok()) {
    return resource_exhausted(text +
                              fmt::format(": lower --gpu-memory-utilization to {:.2f}", share));
  }
  return resource_exhausted(text +
                            fmt::format(", and {:.2f} is not enough: {}", share, plan.message()));
}

}  // namespace

int64_t gpu_usable_bytes(const GpuDeviceInfo& device) {
  const bool is_open = !device.pci_bus_id.empty();
  const int64_t taken = device.total_bytes - device.free_bytes;
  return device.free_bytes + (is_open ? std::min(gpu_context_bytes(device), taken) : 0);
}

double GpuMemoryPlan::full_sequences() const {
  return static_cast<double>(kv_tokens()) / std::max(max_context, 1);
}

int64_t gpu_kv_bytes_per_token(const ModelConfig& config, GpuKvFormat type) {
  constexpr int64_t kScaleBytes = sizeof(float);
  const int64_t head_bytes =
      type == GpuKvFormat::kBF16 ? int64_t{2} * config.head_dim : config.head_dim + kScaleBytes;
  return 2 * int64_t{config.num_layers} * config.num_kv_heads * head_bytes;
}

Result<int64_t> gpu_weights_bytes(const TensorSource& source, const GpuExecutorOptions& options) {
  const bool tied = source.config().tied_embeddings;
  int64_t total = 0;
  for (const LayoutTensor& layout : qwen2_tensor_layout(source.config())) {
    ASSIGN_OR_RETURN(const SourceTensor tensor, source.describe(layout.name));
    if (layout.is_vector) {
      total += aligned(layout.cols * static_cast<int64_t>(sizeof(float)));
      continue;
    }
    const GpuMatrixBytes bytes =
        gpu_matrix_format(layout.name, tensor, tied, options).bytes(layout.rows, layout.cols);
    for (const size_t part : {bytes.values, bytes.scales, bytes.zeros}) {
      total += aligned(static_cast<int64_t>(part));
    }
  }
  return total;
}

Result<GpuMemoryPlan> plan_gpu_memory(const ModelConfig& config, const GpuExecutorOptions& options,
                                      const GpuDeviceInfo& device, const TensorSource* source) {
  RETURN_IF_ERROR(check_gpu_options(config, options));
  RETURN_IF_ERROR(check_gpu_device(device));
  if (source == nullptr) {
    const ShapeTensorSource shapes(config);
    return plan_gpu_memory(config, options, device, &shapes);
  }
  if (share_of(options.memory_utilization, device.total_bytes) > gpu_usable_bytes(device)) {
    return share_not_free(config, options, device, *source);
  }
  ASSIGN_OR_RETURN(const int64_t weights_bytes, gpu_weights_bytes(*source, options));
  return Planner(config, options, device, *source, weights_bytes).plan();
}

std::vector<std::string> memory_plan_lines(const GpuMemoryPlan& plan) {
  std::vector<std::string> lines;
  const auto add = [&](const char* what, int64_t bytes, const std::string& note) {
    lines.push_back(fmt::format("{:<10} {:>13} bytes {:>8.3f} GB  {}", what, bytes,
                                static_cast<double>(bytes) / 1e9, note));
  };
  const char* kv_name = plan.options.kv_type == GpuKvFormat::kBF16 ? "bf16" : "int8";
  add("weights", plan.weights_bytes, plan.weights_text);
  add("KV cache", plan.kv_bytes,
      fmt::format("{}, {} tokens of {} bytes: {:.1f} sequences of {}", kv_name, plan.kv_tokens(),
                  plan.kv_bytes_per_token, plan.full_sequences(), plan.max_context));
  add("workspace", plan.workspace_bytes,
      fmt::format("{} rows a step, {} sequences", plan.options.max_batch_tokens,
                  plan.options.num_slots));
  add("reserve", plan.reserve_bytes,
      fmt::format("CUDA context and {} graphs, estimated", plan.num_graphs));
  add("sum", plan.total_bytes(),
      fmt::format("of {}: {} of {} on {}, {} free", gigabytes(plan.budget_bytes),
                  plan.options.memory_utilization, gigabytes(plan.device.total_bytes),
                  plan.device.name, gigabytes(plan.device.free_bytes)));
  return lines;
}

}  // namespace sparrow
