#include "tools/bench/offline_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/random.h"

namespace sparrow {
namespace {

constexpr uint64_t kTokenSeed = 1;

EngineOptions engine_options(const OfflineEngineOptions& options) {
  EngineOptions engine;
  engine.max_num_seqs = options.max_num_seqs;
  engine.max_num_batched_tokens = options.max_num_batched_tokens;
  engine.max_step_ms = options.max_step_ms;
  // The caller bounds what is unfinished.
  engine.max_num_queued_reqs = 1 << 20;
  engine.inbox_capacity = size_t{1} << 20;
  engine.prefix.enabled = false;
  return engine;
}

int most_at_once(const ExecutorLimits& limits, const OfflineEngineOptions& options) {
  return std::min({limits.num_slots, limits.max_batch_tokens, options.max_num_seqs,
                   options.max_num_batched_tokens});
}

}  // namespace

OfflineEngine::OfflineEngine(Executor& executor, const Tokenizer& tokenizer,
                             const OfflineEngineOptions& options, const Clock& clock)
    : clock_(clock),
      options_(options),
      vocab_size_(executor.limits().vocab_size),
      max_running_(most_at_once(executor.limits(), options)),
      engine_(executor, tokenizer, engine_options(options), nullptr) {}

OfflineEngine::~OfflineEngine() = default;

Status OfflineEngine::submit(const WorkloadItem& item) {
  Request request;
  request.id = ++last_id_;
  request.prompt.resize(static_cast<size_t>(item.prompt_tokens));
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    const uint64_t bits = random_bits(kTokenSeed, request.id, i);
    request.prompt[i] = static_cast<TokenId>(bits % static_cast<uint64_t>(vocab_size_));
  }
  request.sampling.temperature = options_.temperature;
  request.sampling.seed = request.id;
  request.stop.max_tokens = item.output_tokens;
  request.stop.ignore_eos = true;
  request.arrival = clock_.now();
  const Running running{
      .arrival = request.arrival, .last_delivery = {}, .has_delivered = false, .item = item};
  RETURN_IF_ERROR(engine_.submit(std::move(request), this));
  running_.emplace(last_id_, running);
  return ok_status();
}

Status OfflineEngine::step() {
  const StepReport report = engine_.step(clock_.now());
  RETURN_IF_ERROR(failure_);
  if (!report.worked && !idle()) return internal_error("the engine has work and does none of it");
  return ok_status();
}

void OfflineEngine::publish(std::vector<StreamEvent>&& events) {
  const TimePoint now = clock_.now();
  for (const StreamEvent& event : events) take_event(event, now);
}

void OfflineEngine::take_event(const StreamEvent& event, TimePoint now) {
  const auto found = running_.find(event.request_id);
  if (found == running_.end()) return;
  Running& running = found->second;
  num_output_tokens_ += static_cast<int64_t>(event.tokens.size());
  if (!event.tokens.empty()) {
    if (options_.keeps_gaps && running.has_delivered) {
      gaps_s_.push_back(to_seconds(now - running.last_delivery));
    }
    running.has_delivered = true;
    running.last_delivery = now;
  }
  if (event.finish == FinishReason::kNone) return;
  take_end(event, running, now);
  running_.erase(found);
}

void OfflineEngine::take_end(const StreamEvent& event, const Running& running, TimePoint now) {
  const ChoiceUsage& usage = event.usage;
  if (usage.num_output_tokens != running.item.output_tokens) {
    if (failure_.ok()) {
      failure_ = failed_precondition(
          fmt::format("an answer ended after {} of {} tokens ({})", usage.num_output_tokens,
                      running.item.output_tokens, finish_reason_name(event.finish)));
    }
    return;
  }
  answers_.push_back({.output_tokens = usage.num_output_tokens,
                      .first_token_s = to_seconds(usage.queue_time + usage.prefill_time),
                      .answer_s = to_seconds(now - running.arrival)});
}

}  // namespace sparrow
