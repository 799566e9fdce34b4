#include "cmd/bench/bench_setup.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "kernels/cpu_features.h"
#include "kernels/cuda/cuda_device.h"
#include "model/cpu_executor.h"
#include "scheduler/speculation.h"
#include "tools/bench/gpu_probe.h"
#include "tools/bench/machine_probe.h"

namespace sparrow {
namespace {

// A vector register holds a quarter as many floats, which attention multiplies, as int8.
constexpr double kFloatShareOfInt8 = 0.25;

constexpr size_t kMaxGpuProbeBytes = size_t{512} << 20;  // two buffers, several times any L2 cache

class CpuProbe final : public MachineProbe {
 public:
  CpuProbe(std::unique_ptr<ComputePool> pool, const Kernels* kernels, ReadProbe reads)
      : pool_(std::move(pool)), kernels_(kernels), reads_(std::move(reads)) {}

  Probe measure() override { return {reads_.best_of_five(), probe_int8_peak(*kernels_, *pool_)}; }
  double read_pass() override { return reads_.pass(); }

 private:
  std::unique_ptr<ComputePool> pool_;
  const Kernels* kernels_;
  ReadProbe reads_;
};

class GpuProbe final : public MachineProbe {
 public:
  explicit GpuProbe(GpuCopyProbe copies) : copies_(std::move(copies)) {}

  Probe measure() override { return {copies_.best_of_five(), 0}; }
  double read_pass() override { return copies_.pass(); }

 private:
  GpuCopyProbe copies_;
};

std::atomic<int> num_interrupts{0};
static_assert(std::atomic<int>::is_always_lock_free);

void on_interrupt(int) {
  if (num_interrupts.fetch_add(1, std::memory_order_relaxed) >= 2) ::_exit(kBenchInterrupted);
}

}  // namespace

Result<ModelSession> open_for_bench(const OptionValues& values, SessionNeeds needs) {
  needs.max_batch_tokens = static_cast<int>(std::max<int64_t>(
      {needs.num_slots, kMaxDraftTokens + 1, values.integer("max-num-batched-tokens")}));
  const std::string positional = values.positional().empty() ? "" : values.positional()[0];
  return open_session(values, positional, needs);
}

BenchCost cost_of(const ModelConfig& config, const ModelExecutor& executor) {
  const double layer =
      static_cast<double>(config.hidden_size) * (config.q_size() * 2.0 + config.kv_size() * 2.0) +
      3.0 * config.hidden_size * config.intermediate_size;
  BenchCost cost;
  cost.weight_bytes_per_step = static_cast<double>(executor.weights_bytes_per_token());
  cost.kv_bytes_per_token = static_cast<double>(executor.kv_bytes_per_token());
  cost.ops_per_token = 2.0 * layer * config.num_layers;
  cost.ops_per_logit_row = 2.0 * static_cast<double>(config.hidden_size) * config.vocab_size;
  cost.attention_ops_per_context = 4.0 * config.q_size() * config.num_layers;
  return cost;
}

const char* kv_type_name(const OptionValues& values) {
  const std::string& wanted = values.text("kv-cache-dtype");
  if (wanted == "int8") return "int8";
  return wanted == "f32" || wanted == "float32" ? "f32" : "bf16";
}

Result<std::unique_ptr<MachineProbe>> MachineProbe::create(const ModelExecutor& executor,
                                                           const OptionValues& values) {
  const auto bytes = static_cast<size_t>(values.integer("probe-mb")) << 20;
  const auto* cpu = dynamic_cast<const CpuExecutor*>(&executor);
  if (cpu == nullptr) {
    // What the executor's share of the memory leaves has room for less.
    const size_t buffer_bytes = std::min(bytes, kMaxGpuProbeBytes) / 2;
    ASSIGN_OR_RETURN(std::unique_ptr<GpuDevice> device, open_cuda_device(0));
    ASSIGN_OR_RETURN(GpuCopyProbe copies, GpuCopyProbe::create(std::move(device), buffer_bytes));
    return std::unique_ptr<MachineProbe>(std::make_unique<GpuProbe>(std::move(copies)));
  }
  auto pool = std::make_unique<ComputePool>(cpu->num_threads());
  ASSIGN_OR_RETURN(const Kernels* kernels, select_kernels(cpu->isa()));
  ASSIGN_OR_RETURN(ReadProbe reads, ReadProbe::create(*kernels, *pool, bytes));
  return std::unique_ptr<MachineProbe>(
      std::make_unique<CpuProbe>(std::move(pool), kernels, std::move(reads)));
}

MachineLimits machine_limits(const ModelSession& session, const Probe& probe) {
  // Blocks and integers multiply int8; for plain weights no compute peak is probed and bandwidth is
  // the limit. Names end in what most of the weights are held as.
  const bool is_int8 =
      !session.format_name.ends_with("F16") && !session.format_name.ends_with("F32");
  return {.read_bytes_per_s = probe.bandwidth,
          .ops_per_s = is_int8 ? probe.int8_peak : 0,
          .attention_ops_per_s = probe.int8_peak * kFloatShareOfInt8,
          .read_pass = {}};
}

void watch_bench_signals() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool show_bench(Progress& progress, double share, const std::string& text) {
  progress.show(share, text);
  return num_interrupts.load(std::memory_order_relaxed) == 0;
}

}  // namespace sparrow
