#include "model/cpu_executor.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <optional>

#include "kernels/cpu_features.h"
#include "model/cpu_forward.h"
#include "model/cpu_head.h"
#include "model/cpu_step_sizes.h"
#include "model/plan_checks.h"

namespace sparrow {

struct CpuExecutor::Impl {
  Impl(const ModelConfig& model_config, const CpuExecutorOptions& executor_options,
       const Kernels& kernel_table, const MemoryPlan& memory_plan)
      : config(model_config),
        options(executor_options),
        kernels(kernel_table),
        plan(memory_plan),
        sizes(workspace_sizes(executor_options, memory_plan)),
        pool(memory_plan.num_threads, executor_options.pinned_cpus),
        forward(config, kernels, sizes, pool),
        head(config, kernels, sizes, options.num_slots, options.disallowed_tokens, pool) {
    tokens.reserve(static_cast<size_t>(sizes.max_rows));
    for (StepResult& result : results) {
      result.spans.reserve(static_cast<size_t>(sizes.max_rows));
      result.tokens.reserve(static_cast<size_t>(sizes.max_rows));
    }
  }

  // All of them or, where memory runs out, none.
  void start_slots(const BatchPlan& batch) {
    try {
      for (const SlotStart& start : batch.slot_starts) head.start_slot(start);
    } catch (...) {
      drop_slots(batch);
      throw;
    }
  }

  // A begin() that throws has started no slot.
  void drop_slots(const BatchPlan& batch) {
    for (const SlotStart& start : batch.slot_starts) {
      if (head.is_held(start.slot)) head.release_slot(start.slot);
    }
  }

  StepResult& result_of(Ticket ticket) { return results[ticket % results.size()]; }

  // Constant after load().
  const ModelConfig config;
  const CpuExecutorOptions options;
  const Kernels& kernels;
  MemoryPlan plan;
  const WorkspaceSizes sizes;
  std::optional<CpuWeights> weights;

  ComputePool pool;
  CpuForward forward;
  CpuHead head;
  CpuKvCache cache;
  CpuWorkspace workspace;

  // The step in flight.
  const BatchPlan* in_flight = nullptr;
  bool sampled = false;
  Ticket last_ticket = 0;
  std::chrono::steady_clock::time_point begun;
  std::vector<TokenId> tokens;        // of its rows, pending ones resolved
  std::array<StepResult, 2> results;  // by ticket: the previous one is still read
};

CpuExecutor::CpuExecutor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CpuExecutor::~CpuExecutor() = default;

ExecutorLimits CpuExecutor::limits() const {
  ExecutorLimits limits;
  limits.block_tokens = kKvBlockTokens;
  limits.num_blocks = impl_->plan.num_blocks;
  limits.num_slots = impl_->options.num_slots;
  limits.max_batch_tokens = impl_->options.max_batch_tokens;
  limits.max_context_tokens = impl_->plan.max_context;
  limits.vocab_size = impl_->config.vocab_size;
  return limits;
}

Status CpuExecutor::load(TensorSource& source) {
  CHECK(!impl_->weights.has_value());
  // The blocks and the context that limits() promised stay; only the sum is checked again.
  CpuExecutorOptions fixed = impl_->options;
  fixed.num_blocks = impl_->plan.num_blocks;
  fixed.max_context = impl_->plan.max_context;
  fixed.num_threads = impl_->plan.num_threads;
  ASSIGN_OR_RETURN(impl_->plan, plan_cpu_memory(impl_->config, fixed, &source));
  RETURN_IF_ERROR(impl_->cache.allocate(impl_->config, fixed.kv_type, fixed.num_blocks));
  RETURN_IF_ERROR(impl_->workspace.allocate(impl_->config, impl_->sizes));
  ASSIGN_OR_RETURN(impl_->weights, load_cpu_weights(source, fixed.formats, impl_->pool));
  impl_->plan.weights_bytes = impl_->weights->total_bytes();
  if (fixed.kv_type == KvType::kInt8) {
    RETURN_IF_ERROR(
        impl_->cache.key_bias().load(impl_->config, *impl_->weights, fixed.max_context));
  }
  return ok_status();
}

Ticket CpuExecutor::begin(const BatchPlan& plan) {
  Impl& impl = *impl_;
  CHECK(impl.weights.has_value() && impl.in_flight == nullptr);
  check_plan(plan, limits());
  impl.begun = std::chrono::steady_clock::now();
  impl.pool.pin_caller();
  impl.start_slots(plan);
  impl.in_flight = &plan;
  impl.sampled = false;
  impl.tokens.clear();
  for (const Span& span : plan.spans) {
    CHECK(impl.head.is_held(span.slot));
    for (int32_t i = 0; i < span.num_tokens; ++i) {
      TokenId token = plan.token_ids[static_cast<size_t>(span.token_begin + i)];
      if (token == kPendingToken) token = impl.head.last_token(span.slot);
      impl.tokens.push_back(token);
    }
  }
  try {
    impl.forward.run(plan, impl.tokens, *impl.weights, impl.cache, impl.workspace);
  } catch (...) {
    impl.drop_slots(plan);
    impl.in_flight = nullptr;
    throw;
  }
  return ++impl.last_ticket;
}

void CpuExecutor::sample(Ticket ticket, const TokenMasks& masks) {
  Impl& impl = *impl_;
  CHECK(impl.in_flight != nullptr && ticket == impl.last_ticket && !impl.sampled);
  StepResult& result = impl.result_of(ticket);
  result.clear();
  result.step = impl.in_flight->step;
  try {
    impl.head.sample(*impl.in_flight, masks, *impl.weights, impl.workspace, result);
  } catch (...) {  // a slot's token counts could not grow
    impl.in_flight = nullptr;
    throw;
  }
  impl.sampled = true;
}

const StepResult& CpuExecutor::wait(Ticket ticket) {
  Impl& impl = *impl_;
  CHECK(impl.in_flight != nullptr && ticket == impl.last_ticket && impl.sampled);
  StepResult& result = impl.result_of(ticket);
  result.elapsed_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                          std::chrono::steady_clock::now() - impl.begun)
                          .count();
  impl.in_flight = nullptr;
  return result;
}

void CpuExecutor::release(SlotId slot) { impl_->head.release_slot(slot); }

std::string CpuExecutor::device_text() const {
  return fmt::format("CPU ({}, {} threads)", isa(), num_threads());
}
std::string CpuExecutor::arithmetic() const { return isa(); }
std::vector<std::string> CpuExecutor::memory_lines() const {
  return memory_plan_lines(impl_->plan);
}
int64_t CpuExecutor::memory_budget_bytes() const { return impl_->plan.available_bytes; }
const MemoryPlan& CpuExecutor::memory_plan() const { return impl_->plan; }
const char* CpuExecutor::isa() const { return impl_->kernels.name; }
int CpuExecutor::num_threads() const { return impl_->pool.num_threads(); }
int64_t CpuExecutor::weights_bytes_per_token() const {
  return impl_->weights.has_value() ? impl_->weights->bytes_per_token() : 0;
}
int64_t CpuExecutor::kv_bytes_per_token() const { return impl_->plan.kv_bytes_per_token; }
void CpuExecutor::set_logits_probe(LogitsProbe probe) {
  impl_->head.set_logits_probe(std::move(probe));
}

Result<std::unique_ptr<CpuExecutor>> make_cpu_executor(const ModelConfig& config,
                                                       const CpuExecutorOptions& options) {
  ASSIGN_OR_RETURN(const Kernels* kernels, select_kernels(options.isa));
  ASSIGN_OR_RETURN(const MemoryPlan plan, plan_cpu_memory(config, options));
  for (const TokenId token : options.disallowed_tokens) {
    if (token < 0 || token >= config.vocab_size) {
      return invalid_argument("a disallowed token lies outside the vocabulary");
    }
  }
  auto impl = std::make_unique<CpuExecutor::Impl>(config, options, *kernels, plan);
  return std::unique_ptr<CpuExecutor>(new CpuExecutor(std::move(impl)));
}

}  // namespace sparrow
