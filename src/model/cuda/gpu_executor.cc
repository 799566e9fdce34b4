#include "model/cuda/gpu_executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <stdexcept>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "model/cuda/decode_trials.h"
#include "model/cuda/gpu_forward.h"
#include "model/cuda/gpu_head.h"
#include "model/cuda/gpu_kv_cache.h"
#include "model/cuda/gpu_products.h"
#include "model/cuda/gpu_staging.h"
#include "model/cuda/gpu_step_runner.h"
#include "model/cuda/gpu_weights.h"
#include "model/cuda/product_trials.h"
#include "model/plan_checks.h"

namespace sparrow {
namespace {

// Null: not wanted, or "auto" and not found; options.product_library is then "off".
Result<std::unique_ptr<GpuProductLibrary>> open_library(GpuDevice& device,
                                                        GpuExecutorOptions& options) {
  if (options.product_library == "off") return std::unique_ptr<GpuProductLibrary>();
  const bool is_auto = options.product_library == "auto";
  Result<std::unique_ptr<GpuProductLibrary>> library =
      device.open_product_library(is_auto ? "" : options.product_library);
  if (library.ok() || !is_auto) return library;
  log_info("No product library, our own kernels compute everything (slower for prompts): {}",
           library.message());
  options.product_library = "off";
  return std::unique_ptr<GpuProductLibrary>();
}

// Without the library, and `library` null, where "auto" would cost too much of the KV cache.
Result<GpuMemoryPlan> plan_with_library(const TensorSource& source, const GpuDevice& device,
                                        std::unique_ptr<GpuProductLibrary>& library,
                                        GpuExecutorOptions& options) {
  constexpr double kLeastShare = 0.9;
  Result<GpuMemoryPlan> plan = plan_gpu_memory(source.config(), options, device.info(), &source);
  if (options.product_library != "auto") return plan;
  GpuExecutorOptions without = options;
  without.product_library = "off";
  Result<GpuMemoryPlan> other = plan_gpu_memory(source.config(), without, device.info(), &source);
  if (!other.ok()) return other;
  const auto least = static_cast<int64_t>(kLeastShare * static_cast<double>(other->kv_tokens()));
  if (plan.ok() && plan->max_context == other->max_context && plan->kv_tokens() >= least) {
    return plan;
  }
  log_info("{} is left out: its memory would cost more than a tenth of the KV cache",
           library->name());
  library.reset();
  options = std::move(without);
  return other;
}

}  // namespace

struct GpuExecutor::Impl {
  // A step between begin() and wait().
  struct Step {
    const BatchPlan* plan = nullptr;
    GpuStepRunner::Run run;
    bool sampled = false;
    // The device told of an error while the step was on its way, and does so once: it may have been
    // this step's.
    bool is_broken = false;
    std::chrono::steady_clock::time_point begun;
    std::unique_ptr<GpuEvent> done;
    StepResult result;
  };

  Step& step_of(Ticket ticket) { return steps[turn_of(ticket)]; }
  static size_t turn_of(Ticket ticket) { return static_cast<size_t>(ticket % 2); }
  void drop_slots(const BatchPlan& batch);
  void throw_unless_ok(const Status& status);
  void break_steps();
  Status prepare(const TensorSource& source);
  Status choose_products(std::byte* base);
  Status choose_decode();
  GpuWorkspace workspace_at(std::byte* base) const;

  // The device goes last; what is below lies in its memory.
  std::unique_ptr<GpuDevice> device;
  ModelConfig config;
  GpuExecutorOptions options;
  GpuMemoryPlan plan;
  std::optional<GpuStaging> staging;
  GpuBuffer workspace;
  std::optional<GpuWeights> weights;
  std::unique_ptr<GpuProductLibrary> library;  // null: our kernels compute all products
  std::optional<GpuProducts> products;
  std::optional<GpuKvCache> cache;
  std::optional<GpuHead> head;
  std::optional<GpuForward> forward;
  std::optional<GpuStepRunner> runner;

  std::array<Step, 2> steps;
  Ticket last_ticket = 0;
  std::chrono::steady_clock::time_point last_end;  // of the step waited for last
  LogitsProbe probe;
};

// Errors come with the next call that waits, whichever step queued what failed.
void GpuExecutor::Impl::break_steps() {
  for (Step& step : steps) step.is_broken = step.plan != nullptr;
}

void GpuExecutor::Impl::throw_unless_ok(const Status& status) {
  if (status.ok()) return;
  break_steps();
  throw std::runtime_error(status.message());
}

void GpuExecutor::Impl::drop_slots(const BatchPlan& batch) {
  for (const SlotStart& start : batch.slot_starts) {
    if (head->is_held(start.slot)) head->release_slot(start.slot);
  }
}

GpuWorkspace GpuExecutor::Impl::workspace_at(std::byte* base) const {
  const GpuWorkspaceLayout& layout = plan.workspace;
  GpuWorkspace out;
  out.x = layout.x.in<float>(base);
  out.hidden = layout.hidden.in<std::byte>(base);
  out.qkv = layout.qkv.in<float>(base);
  out.q = layout.q.in<std::byte>(base);
  out.attended = layout.attended.in<std::byte>(base);
  out.activated = layout.activated.in<std::byte>(base);
  out.partial_out = layout.partial_out.in<float>(base);
  out.partial_max = layout.partial_max.in<float>(base);
  out.partial_sum = layout.partial_sum.in<float>(base);
  out.arrivals = layout.arrivals.in<int32_t>(base);
  out.logit_inputs = layout.logit_inputs.in<std::byte>(base);
  return out;
}

Status GpuExecutor::Impl::choose_products(std::byte* base) {
  const GpuWorkspaceLayout& layout = plan.workspace;
  const GpuProductScratch scratch = {layout.gate_up.in<void>(base), layout.expanded.in<void>(base)};
  products.emplace(*device, plan.sizes.max_rows, plan.sizes.max_logit_rows, scratch);
  if (!options.tries_products || !device->info().has_bf16_matrix_units()) return ok_status();
  if (library != nullptr) {
    library->set_workspace(layout.product_workspace.in<void>(base),
                           static_cast<size_t>(layout.product_workspace.bytes));
  }
  const GpuWorkspace buffers = workspace_at(base);
  const GpuFloat type = GpuForward::activation_type(*weights, *device);
  const ProductTrialScene scene = {config,         *device, *staging,
                                   *weights,       buffers, scratch,
                                   head->logits(), type,    options.product_library_margin};
  ASSIGN_OR_RETURN(const std::string line,
                   sparrow::choose_products(scene, library.get(), *products));
  log_info("{}", line);
  return ok_status();
}

// Without graphs nothing is tried, and a step takes the way that cards have been measured with.
Status GpuExecutor::Impl::choose_decode() {
  if (!options.tries_decode) return ok_status();
  if (options.enforce_eager) {
    forward->set_choices(GpuForwardChoices::plain());
    return ok_status();
  }
  auto* base = workspace.as<std::byte>();
  const GpuRegion& arrivals = plan.workspace.arrivals;
  const DecodeTrialScene scene = {config,
                                  plan,
                                  *device,
                                  *staging,
                                  *cache,
                                  *runner,
                                  head->logits(),
                                  options.kv_type,
                                  arrivals.in<void>(base),
                                  static_cast<size_t>(arrivals.bytes)};
  ASSIGN_OR_RETURN(const std::string line,
                   sparrow::choose_decode(scene, options.choices, *forward));
  log_info("{}", line);
  return ok_status();
}

// Takes the memory of the plan and fills what a step finds there.
Status GpuExecutor::Impl::prepare(const TensorSource& source) {
  constexpr int64_t kSmallestStaging = 1 << 20;
  const GpuWorkspaceLayout& layout = plan.workspace;
  const int64_t half_bytes =
      std::max({kSmallestStaging, layout.step_data.bytes, layout.start_counts.bytes});
  ASSIGN_OR_RETURN(staging, GpuStaging::create(*device, static_cast<size_t>(half_bytes)));
  ASSIGN_OR_RETURN(workspace, GpuBuffer::create(*device, static_cast<size_t>(layout.total_bytes)));
  auto* base = workspace.as<std::byte>();
  ASSIGN_OR_RETURN(weights,
                   GpuWeights::load(*device, *staging, source, options, plan.weights_bytes));
  ASSIGN_OR_RETURN(cache, GpuKvCache::create(*device, config, options.kv_type, plan.num_blocks));
  ASSIGN_OR_RETURN(head, GpuHead::create(*device, config, plan.sizes, layout, base, *staging,
                                         options.disallowed_tokens));
  head->set_logits_probe(probe);
  // A piece of positions at a time.
  constexpr int32_t kPositions = 1024;
  auto* rope = layout.rope.in<float>(base);
  for (int32_t begin = 0; begin < plan.max_context; begin += kPositions) {
    const int32_t count = std::min(kPositions, plan.max_context - begin);
    const std::vector<float> table = GpuForward::rope_table(config, begin, count);
    RETURN_IF_ERROR(staging->upload(rope + int64_t{begin} * config.head_dim, table.data(),
                                    table.size() * sizeof(float)));
  }
  RETURN_IF_ERROR(choose_products(base));
  device->fill(layout.arrivals.in<int32_t>(base), 0, static_cast<size_t>(layout.arrivals.bytes));
  forward.emplace(config, *device, *weights, *cache, *products, workspace_at(base), rope,
                  head->last_tokens(), options.choices);
  runner.emplace(*device, *forward, *staging, layout.step_data.in<void>(base), plan.sizes);
  RETURN_IF_ERROR(choose_decode());
  if (!options.enforce_eager) RETURN_IF_ERROR(runner->capture_graphs(head->logits()));
  return device->synchronize();
}

GpuExecutor::GpuExecutor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GpuExecutor::~GpuExecutor() = default;

ExecutorLimits GpuExecutor::limits() const {
  ExecutorLimits limits;
  limits.block_tokens = kGpuBlockTokens;
  limits.num_blocks = impl_->plan.num_blocks;
  limits.num_slots = impl_->options.num_slots;
  limits.max_batch_tokens = impl_->options.max_batch_tokens;
  limits.max_context_tokens = impl_->plan.max_context;
  limits.vocab_size = impl_->config.vocab_size;
  limits.max_steps_in_flight = 2;
  return limits;
}

Status GpuExecutor::load(TensorSource& source) {
  Impl& impl = *impl_;
  CHECK(!impl.weights.has_value());
  const Status prepared = impl.prepare(source);
  if (prepared.ok()) return prepared;
  return Status(prepared.code(), fmt::format("{}: {}", device_text(), prepared.message()));
}

// A begin() that throws has started no slot (executor.h).
Ticket GpuExecutor::begin(const BatchPlan& plan) {
  Impl& impl = *impl_;
  CHECK(impl.runner.has_value());
  Impl::Step& step = impl.step_of(impl.last_ticket + 1);
  CHECK(step.plan == nullptr && "at most two steps are on the way");
  check_plan(plan, limits());
  impl.device->use_on_this_thread();
  step.begun = std::chrono::steady_clock::now();
  try {
    for (const SlotStart& start : plan.slot_starts) {
      impl.throw_unless_ok(impl.head->start_slot(start, *impl.staging));
    }
    for (const Span& span : plan.spans) CHECK(impl.head->is_held(span.slot));
    Result<GpuStepRunner::Run> run = impl.runner->queue(plan);
    impl.throw_unless_ok(run.status());
    step.run = *run;
  } catch (...) {
    impl.drop_slots(plan);
    throw;
  }
  step.plan = &plan;
  step.sampled = false;
  step.is_broken = false;
  return ++impl.last_ticket;
}

void GpuExecutor::sample(Ticket ticket, const TokenMasks& masks) {
  Impl& impl = *impl_;
  Impl::Step& step = impl.step_of(ticket);
  CHECK(step.plan != nullptr && ticket == impl.last_ticket && !step.sampled);
  try {
    impl.throw_unless_ok(impl.head->queue(*step.plan, step.run.token_ids, masks,
                                          step.run.has_logits, *impl.forward, *impl.staging,
                                          Impl::turn_of(ticket)));
  } catch (...) {
    step.plan = nullptr;
    throw;
  }
  impl.device->record(*step.done);
  step.sampled = true;
}

const StepResult& GpuExecutor::wait(Ticket ticket) {
  Impl& impl = *impl_;
  Impl::Step& step = impl.step_of(ticket);
  CHECK(step.plan != nullptr && step.sampled);
  const BatchPlan& plan = *std::exchange(step.plan, nullptr);
  StepResult& result = step.result;
  result.clear();
  result.step = plan.step;
  Status status = impl.device->wait(*step.done);
  if (!status.ok()) impl.break_steps();
  if (status.ok() && step.is_broken) status = unavailable("an error while it was on its way");
  if (status.ok()) {
    impl.head->read_result(plan, Impl::turn_of(ticket), result);
  } else {
    log_error("{}: a step failed: {}", device_text(), status.message());
    result.failed = true;
    result.spans.resize(plan.spans.size());
  }
  // Behind another step it took the device's time from the end of that one.
  const auto end = std::chrono::steady_clock::now();
  const auto begin = std::max(step.begun, std::exchange(impl.last_end, end));
  result.elapsed_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count();
  return result;
}

void GpuExecutor::release(SlotId slot) { impl_->head->release_slot(slot); }

std::string GpuExecutor::device_text() const {
  return fmt::format("{} ({})", impl_->device->info().name, arithmetic());
}
std::string GpuExecutor::arithmetic() const {
  const GpuDeviceInfo& info = impl_->device->info();
  return fmt::format("sm_{}{}", info.compute_major, info.compute_minor);
}
std::vector<std::string> GpuExecutor::memory_lines() const {
  return memory_plan_lines(impl_->plan);
}
int64_t GpuExecutor::memory_budget_bytes() const { return impl_->plan.budget_bytes; }
int64_t GpuExecutor::weights_bytes_per_token() const {
  return impl_->weights.has_value() ? impl_->weights->bytes_per_token : 0;
}
int64_t GpuExecutor::kv_bytes_per_token() const { return impl_->plan.kv_bytes_per_token; }
void GpuExecutor::set_logits_probe(LogitsProbe probe) {
  impl_->probe = std::move(probe);
  if (impl_->head.has_value()) impl_->head->set_logits_probe(impl_->probe);
}
const GpuMemoryPlan& GpuExecutor::memory_plan() const { return impl_->plan; }

Result<std::unique_ptr<GpuExecutor>> make_gpu_executor(std::unique_ptr<GpuDevice> device,
                                                       const TensorSource& source,
                                                       const GpuExecutorOptions& wanted) {
  const ModelConfig& config = source.config();
  GpuExecutorOptions options = wanted;
  if (config.head_dim > kGpuMaxHeadDim) {
    return unimplemented(fmt::format("heads of {} dimensions: the GPU kernels take at most {}",
                                     config.head_dim, kGpuMaxHeadDim));
  }
  if (!options.plain_format && !device->info().has_bf16_matrix_units()) {
    options.plain_format = GpuWeightFormat::kF16;
  }
  ASSIGN_OR_RETURN(std::unique_ptr<GpuProductLibrary> library, open_library(*device, options));
  ASSIGN_OR_RETURN(GpuMemoryPlan plan, plan_with_library(source, *device, library, options));
  for (const TokenId token : options.disallowed_tokens) {
    if (token < 0 || token >= config.vocab_size) {
      return invalid_argument("a disallowed token lies outside the vocabulary");
    }
  }
  auto impl = std::make_unique<GpuExecutor::Impl>();
  impl->config = config;
  impl->options = options;
  impl->plan = std::move(plan);
  impl->library = std::move(library);
  for (GpuExecutor::Impl::Step& step : impl->steps) {
    ASSIGN_OR_RETURN(step.done, device->create_event());
    const auto rows = static_cast<size_t>(options.max_batch_tokens);
    step.result.spans.reserve(rows);
    step.result.tokens.reserve(rows);
  }
  impl->device = std::move(device);
  return std::unique_ptr<GpuExecutor>(new GpuExecutor(std::move(impl)));
}

}  // namespace sparrow
