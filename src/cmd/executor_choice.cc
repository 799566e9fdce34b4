#include "cmd/executor_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "cmd/options/gpu_defaults.h"
#include "cmd/options/tensor_format.h"
#include "cmd/replica_share.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/gpu_memory_holders.h"
#include "model/cpu_executor.h"
#include "model/cuda/gpu_executor.h"

namespace sparrow {
namespace {

constexpr int32_t kMaxGpuLogitRows = 256;  // of R1: 156 MB

Result<std::optional<WeightFormat>> weight_format_of(const std::string& dtype) {
  if (dtype == "auto") return std::optional<WeightFormat>();
  if (dtype == "bfloat16") return std::optional(WeightFormat::kBF16);
  if (dtype == "float16" || dtype == "half") return std::optional(WeightFormat::kF16);
  return std::optional(WeightFormat::kF32);
}

CpuExecutorOptions cpu_sizes(const OptionValues& values, const SessionNeeds& needs) {
  CpuExecutorOptions options;
  options.num_slots = static_cast<int>(values.integer("max-num-seqs"));
  options.max_batch_tokens = static_cast<int>(
      std::max(values.integer("max-num-batched-tokens"), values.integer("max-num-seqs")));
  options.max_context = static_cast<int>(values.integer("max-model-len"));
  options.kv_cache_bytes = values.integer("kv-cache-memory-bytes");
  if (needs.num_slots > 0) options.num_slots = needs.num_slots;
  if (needs.num_blocks > 0) options.num_blocks = needs.num_blocks;
  if (needs.max_context > 0) options.max_context = needs.max_context;
  if (needs.max_batch_tokens > 0) options.max_batch_tokens = needs.max_batch_tokens;
  return options;
}

// What the option's types are on a card, where blocks of 8 and 4 bits become plain groups.
Result<std::optional<GpuWeightFormat>> gpu_format_of(const OptionValues& values,
                                                     const char* option) {
  const std::string& type = values.text(option);
  if (type == "auto") return std::optional<GpuWeightFormat>();
  if (type == "bf16" || type == "bfloat16") return std::optional(GpuWeightFormat::kBF16);
  if (type == "float16" || type == "half") return std::optional(GpuWeightFormat::kF16);
  if (type == "q8_0") return std::optional(GpuWeightFormat::kInt8);
  if (type == "q4_0") return std::optional(GpuWeightFormat::kInt4);
  return invalid_argument(fmt::format(
      "--{} {}: a GPU holds weights in 16, 8 or 4 bits. Give auto, or --device cpu", option, type));
}

Result<GpuExecutorOptions> gpu_options(const OptionValues& values, const SessionNeeds& needs) {
  GpuExecutorOptions options;
  const std::string& kv = values.text("kv-cache-dtype");
  if (kv == "f32" || kv == "float32") {
    return invalid_argument(fmt::format(
        "--kv-cache-dtype {}: a GPU's KV cache is bf16 or int8. Give one of them, or --device cpu",
        kv));
  }
  options.kv_type = kv == "int8" ? GpuKvFormat::kInt8 : GpuKvFormat::kBF16;
  ASSIGN_OR_RETURN(options.plain_format, gpu_format_of(values, "dtype"));
  ASSIGN_OR_RETURN(options.head_format, gpu_format_of(values, "output-tensor-type"));
  ASSIGN_OR_RETURN(options.embedding_format, gpu_format_of(values, "token-embedding-type"));
  options.enforce_eager = values.flag("enforce-eager");
  options.tries_products = true;
  options.product_library = values.text("gpu-product-library");
  options.memory_utilization = values.number("gpu-memory-utilization");
  options.num_slots = static_cast<int>(values.integer("max-num-seqs"));
  const int64_t batch_tokens = values.given("max-num-batched-tokens")
                                   ? values.integer("max-num-batched-tokens")
                                   : kGpuBatchTokens;
  options.max_batch_tokens =
      static_cast<int>(std::max(batch_tokens, values.integer("max-num-seqs")));
  options.max_context = static_cast<int>(values.integer("max-model-len"));
  options.kv_cache_bytes = values.integer("kv-cache-memory-bytes");
  options.tries_decode = !values.has("gpu-leave-out") || !values.given("gpu-leave-out");
  if (values.has("gpu-leave-out")) {
    for (const std::string& name : values.list("gpu-leave-out")) {
      RETURN_IF_ERROR(leave_out(options.choices, name));
    }
  }
  if (needs.num_slots > 0) options.num_slots = needs.num_slots;
  if (needs.max_context > 0) options.max_context = needs.max_context;
  if (values.given("max-num-batched-tokens") && needs.max_batch_tokens > 0) {
    options.max_batch_tokens = needs.max_batch_tokens;
  }
  options.max_batch_tokens = std::max(options.max_batch_tokens, options.num_slots);
  // Graphs hold the logits of all their rows.
  options.max_logit_rows = std::clamp(options.num_slots, options.max_logit_rows, kMaxGpuLogitRows);
  return options;
}

// Options that only the CPU heeds are told, never passed over in silence.
void log_options_of_the_cpu(const OptionValues& values) {
  for (const char* name : {"threads", "cpu-list", "numa", "force-isa"}) {
    if (values.given(name)) log_info("--{} is accepted, without effect: a GPU computes", name);
  }
}

}  // namespace

// Null for the CPU: "auto" says why no GPU can be used, "cuda" fails. All engines compute on what
// the first one got.
Result<std::unique_ptr<GpuDevice>> ExecutorChoice::choose_gpu() {
  const std::string& wanted = values_.text("device");
  if (wanted == "cpu" || uses_cpu_) return std::unique_ptr<GpuDevice>();
  // Some cards are too few; none at all is the usual case below.
  if (const int num_cards = num_cuda_devices(); num_cards > 0) {
    RETURN_IF_ERROR(check_cards_for(needs_.num_replicas, num_cards));
  }
  Result<std::unique_ptr<GpuDevice>> device = open_cuda_device(num_made_);
  if (device.ok()) return device;
  if (wanted == "cuda" || num_made_ > 0) {
    return unavailable(
        fmt::format("--device {}: {}. --device cpu works everywhere", wanted, device.message()));
  }
  log_info("--device auto takes the CPU: {}", device.message());
  return std::unique_ptr<GpuDevice>();
}

Result<CpuExecutorOptions> ExecutorChoice::cpu_options() {
  CpuExecutorOptions options = cpu_sizes(values_, needs_);
  const std::string& kv = values_.text("kv-cache-dtype");
  options.kv_type = kv == "int8"                     ? KvType::kInt8
                    : kv == "f32" || kv == "float32" ? KvType::kF32
                                                     : KvType::kBF16;
  ASSIGN_OR_RETURN(options.formats.plain, weight_format_of(values_.text("dtype")));
  options.formats.head = tensor_format_of(values_.text("output-tensor-type"));
  options.formats.embedding = tensor_format_of(values_.text("token-embedding-type"));
  options.isa = values_.text("force-isa");
  if (num_made_ == 0) {
    ASSIGN_OR_RETURN(threads_, choose_compute_threads(values_));
    RETURN_IF_ERROR(check_threads_for(needs_.num_replicas, threads_.count));
    const auto share = values_.number("gpu-memory-utilization");
    memory_bytes_ =
        static_cast<int64_t>(std::floor(share * static_cast<double>(available_memory_bytes())));
  }
  ComputeThreads threads = threads_of({.index = num_made_, .count = needs_.num_replicas}, threads_);
  options.num_threads = threads.count;
  options.pinned_cpus = std::move(threads.pinned_cpus);
  options.memory_limit_bytes = memory_bytes_ / needs_.num_replicas;
  return options;
}

Result<ChosenExecutor> ExecutorChoice::make_next(const TensorSource& source) {
  const ModelConfig& config = source.config();
  const int64_t context =
      needs_.max_context > 0 ? needs_.max_context : values_.integer("max-model-len");
  if (context > config.max_position) {
    return invalid_argument(fmt::format("--max-model-len {}: the model's positions end at {}",
                                        context, config.max_position));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<GpuDevice> device, choose_gpu());
  if (device != nullptr) {
    if (num_made_ == 0) log_options_of_the_cpu(values_);
    ASSIGN_OR_RETURN(GpuExecutorOptions options, gpu_options(values_, needs_));
    options.disallowed_tokens = disallowed_tokens_;
    std::string pci_bus_id = device->info().pci_bus_id;
    Result<std::unique_ptr<GpuExecutor>> executor =
        make_gpu_executor(std::move(device), source, options);
    if (!executor.ok()) return with_memory_holders(executor.status(), pci_bus_id);
    return ChosenExecutor{std::move(executor).value(), std::move(pci_bus_id)};
  }
  uses_cpu_ = true;
  ASSIGN_OR_RETURN(CpuExecutorOptions options, cpu_options());
  options.disallowed_tokens = disallowed_tokens_;
  ASSIGN_OR_RETURN(std::unique_ptr<CpuExecutor> executor, make_cpu_executor(config, options));
  return ChosenExecutor{std::move(executor), ""};
}

Result<ChosenExecutor> ExecutorChoice::load_next(TensorSource& source) {
  const auto explained = [&](const Status& status) {
    if (needs_.num_replicas == 1 || status.code() != StatusCode::kResourceExhausted) return status;
    return resource_exhausted(
        fmt::format("--data-parallel-size {}, engine {}{}: {}", needs_.num_replicas, num_made_,
                    uses_cpu_ ? " with its share of the memory" : "", status.message()));
  };
  Result<ChosenExecutor> chosen = make_next(source);
  if (!chosen.ok()) return explained(chosen.status());
  const Status loaded = chosen->executor->load(source);
  if (!loaded.ok()) return explained(with_memory_holders(loaded, chosen->gpu_pci_bus_id));
  ++num_made_;
  return chosen;
}

double chosen_max_step_ms(const OptionValues& values, const ModelExecutor& executor) {
  const bool on_gpu = dynamic_cast<const GpuExecutor*>(&executor) != nullptr;
  return on_gpu && !values.given("max-step-ms") ? kGpuMaxStepMs : values.number("max-step-ms");
}

}  // namespace sparrow
