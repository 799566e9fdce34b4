#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "engine/choice_stream.h"
#include "engine/engine_metrics.h"
#include "engine/inbox.h"
#include "scheduler/scheduler.h"

namespace sparrow {
namespace {

// Steps that may fail one after the other before the engine says it is broken.
constexpr int kMaxFailedSteps = 3;
// Weight of the newest value in the moving averages of the snapshot.
constexpr double kAverageWeight = 0.1;

SchedulerOptions scheduler_options(const ExecutorLimits& limits, const EngineOptions& options) {
  return {.block_tokens = limits.block_tokens,
          .num_blocks = limits.num_blocks,
          .num_slots = limits.num_slots,
          .max_batch_tokens = limits.max_batch_tokens,
          .max_num_seqs = options.max_num_seqs,
          .max_num_batched_tokens = options.max_num_batched_tokens,
          .max_step_ms = options.max_step_ms};
}

// Prompt and output of one sequence can never exceed what the blocks hold.
int longest_sequence(const ExecutorLimits& limits) {
  const int64_t held = int64_t{limits.num_blocks} * limits.block_tokens;
  return static_cast<int>(std::min<int64_t>(limits.max_context_tokens, held));
}

}  // namespace

struct Engine::Impl final : public TokenConsumer {
  Impl(Executor& executor_in, const Tokenizer& tokenizer_in, const EngineOptions& options_in,
       MetricsRegistry* metrics_in)
      : executor(executor_in),
        tokenizer(tokenizer_in),
        options(options_in),
        limits(executor.limits()),
        max_context(longest_sequence(limits)),
        inbox(options.inbox_capacity),
        scheduler(scheduler_options(limits, options)) {
    if (metrics_in != nullptr) metrics.emplace(*metrics_in, options.model_name);
    mask_words_per_row = (limits.vocab_size + 31) / 32;
  }

  // Text state of one sequence, and when its last token came.
  struct Stream {
    std::unique_ptr<ChoiceStream> text;
    TimePoint last_token{};
  };

  FinishReason on_token(Sequence& sequence, const SampledToken& token,
                        std::span<const TokenLogprob> top) override {
    Stream& stream = streams[static_cast<size_t>(sequence.stream_index)];
    if (metrics) metrics->on_token(sequence, stream.last_token);
    stream.last_token = sequence.last_token;
    ++report.num_tokens_out;
    TokenMasker* masker = sequence.request->masker.get();
    if (masker != nullptr && sequence.params.choice == 0 && !masker->accept(token.id)) {
      return FinishReason::kError;
    }
    return stream.text->push(token, top, sequence.num_output_tokens(), sequence.max_tokens,
                             events_of(*stream.text));
  }

  void drain();
  void start_request(Submission submission);
  void add_choice(const std::shared_ptr<const Request>& request, int choice, EventSink* sink);
  void fill_masks(const BatchPlan& plan);
  void run_step(const BatchPlan& plan, TimePoint now);
  void collect_finished(TimePoint now);
  void publish();
  void publish_snapshot();
  std::vector<StreamEvent>& events_of(const ChoiceStream& text);

  // Constant after construction.
  Executor& executor;
  const Tokenizer& tokenizer;
  const EngineOptions options;
  const ExecutorLimits limits;
  const int max_context;
  std::optional<EngineMetrics> metrics;
  int mask_words_per_row = 0;

  // Shared with other threads; each provides its own synchronization.
  Inbox inbox;
  std::atomic<bool> accepting{true};
  std::atomic<int> num_not_started{0};  // sequences submitted and not yet in a step
  std::atomic<uint64_t> num_steps{0};
  std::atomic<int> num_running{0}, num_waiting{0}, num_blocks_used{0};
  std::atomic<double> step_ms_mean{0}, prefill_rate{0};
  std::atomic<bool> failed{false};

  // Engine thread only.
  Scheduler scheduler;
  std::vector<Stream> streams;
  std::vector<int32_t> free_streams;
  std::vector<std::pair<EventSink*, std::vector<StreamEvent>>> outbox;
  std::vector<Submission> submissions;
  std::vector<uint64_t> cancels;
  std::vector<uint32_t> mask_words;
  StepReport report;
  int num_failed_steps = 0;
};

Engine::Engine(Executor& executor, const Tokenizer& tokenizer, const EngineOptions& options,
               MetricsRegistry* metrics)
    : impl_(std::make_unique<Impl>(executor, tokenizer, options, metrics)) {}
Engine::~Engine() = default;

Status Engine::submit(Request request, EventSink* sink) {
  Impl& impl = *impl_;
  CHECK(sink != nullptr && request.num_choices > 0);
  if (!impl.accepting.load()) return unavailable("the server is shutting down");
  if (impl.failed.load()) return unavailable("the engine has failed; restart the server");
  const auto num_prompt = static_cast<int64_t>(request.prompt.size());
  if (num_prompt == 0) return invalid_argument("the prompt is empty");
  if (num_prompt >= impl.max_context) {
    return invalid_argument(fmt::format(
        "the prompt has {} tokens; at most {} fit with one token of answer (--max-model-len, "
        "--kv-cache-memory-bytes)",
        num_prompt, impl.max_context - 1));
  }
  const int count = request.num_choices;
  if (impl.num_not_started.fetch_add(count) + count > impl.options.max_num_queued_reqs) {
    impl.num_not_started.fetch_sub(count);
    return resource_exhausted(fmt::format("{} requests are waiting already (--max-num-queued-reqs)",
                                          impl.options.max_num_queued_reqs));
  }
  if (!impl.inbox.try_submit({std::move(request), sink})) {
    impl.num_not_started.fetch_sub(count);
    return resource_exhausted("the engine's inbox is full");
  }
  return ok_status();
}

void Engine::cancel(uint64_t request_id) { impl_->inbox.cancel(request_id); }
void Engine::stop_accepting() { impl_->accepting.store(false); }
void Engine::abort_all(FinishReason reason) { impl_->inbox.abort_all(reason); }
void Engine::wait_for_work(TimePoint until) { impl_->inbox.wait_until(until); }
void Engine::wake() { impl_->inbox.wake(); }
bool Engine::idle() const { return impl_->scheduler.idle() && impl_->inbox.empty(); }

EngineSnapshot Engine::snapshot() const {
  const Impl& impl = *impl_;
  return {.num_steps = impl.num_steps.load(),
          .num_running = impl.num_running.load(),
          .num_waiting = impl.num_waiting.load(),
          .num_blocks_total = impl.limits.num_blocks,
          .num_blocks_used = impl.num_blocks_used.load(),
          .step_ms_mean = impl.step_ms_mean.load(),
          .prefill_tokens_per_second = impl.prefill_rate.load(),
          .failed = impl.failed.load()};
}

StepReport Engine::step(TimePoint now) {
  Impl& impl = *impl_;
  impl.report = {};
  impl.drain();
  impl.scheduler.expire(now);
  const BatchPlan& plan = impl.scheduler.plan(now);
  for (const SlotId slot : impl.scheduler.released_slots()) impl.executor.release(slot);
  impl.scheduler.clear_released_slots();
  if (!plan.empty()) impl.run_step(plan, now);
  impl.collect_finished(now);
  impl.publish();
  impl.publish_snapshot();
  impl.report.next_wakeup = impl.scheduler.earliest_deadline();
  return impl.report;
}

void Engine::Impl::drain() {
  const std::optional<FinishReason> abort = inbox.drain(submissions, cancels);
  for (Submission& submission : submissions) start_request(std::move(submission));
  for (const uint64_t id : cancels) scheduler.finish_request(id, FinishReason::kCancelled);
  if (abort) scheduler.finish_all(*abort);
}

void Engine::Impl::start_request(Submission submission) {
  EventSink* sink = submission.sink;
  const auto request = std::make_shared<const Request>(std::move(submission.request));
  for (int choice = 0; choice < request->num_choices; ++choice) add_choice(request, choice, sink);
}

void Engine::Impl::add_choice(const std::shared_ptr<const Request>& request, int choice,
                              EventSink* sink) {
  auto sequence = std::make_unique<Sequence>();
  sequence->request = request;
  sequence->params = request->sampling;
  sequence->params.choice = choice;
  sequence->tokens = request->prompt;
  sequence->num_prompt_tokens = static_cast<int>(request->prompt.size());
  sequence->max_tokens =
      std::min(request->stop.max_tokens, max_context - sequence->num_prompt_tokens);
  if (free_streams.empty()) {
    free_streams.push_back(static_cast<int32_t>(streams.size()));
    streams.emplace_back();
  }
  sequence->stream_index = free_streams.back();
  free_streams.pop_back();
  streams[static_cast<size_t>(sequence->stream_index)] = {
      std::make_unique<ChoiceStream>(tokenizer, request, choice, sink), {}};
  scheduler.add(std::move(sequence));
}

// One mask row per constrained span that samples in this step.
void Engine::Impl::fill_masks(const BatchPlan& plan) {
  mask_words.clear();
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const Sequence& sequence = scheduler.planned(i);
    TokenMasker* masker = sequence.request->masker.get();
    if (masker == nullptr || sequence.params.choice != 0 || plan.spans[i].num_logit_rows == 0) {
      continue;
    }
    const size_t row = mask_words.size();
    mask_words.resize(row + static_cast<size_t>(mask_words_per_row), 0);
    if (masker->fill(std::span(mask_words).subspan(row))) {
      scheduler.set_mask_row(i,
                             static_cast<int32_t>(row / static_cast<size_t>(mask_words_per_row)));
    } else {
      mask_words.resize(row);
    }
  }
}

// Synchronous order; begin, masks and wait stand where the overlapped order (begin(t + 1), wait(t),
// commit(t), masks(t + 1), sample(t + 1)) will put them.
void Engine::Impl::run_step(const BatchPlan& plan, TimePoint now) {
  fill_masks(plan);
  report.worked = true;
  report.num_spans = static_cast<int>(plan.spans.size());
  report.num_tokens_in = plan.num_tokens();
  for (const Span& span : plan.spans)
    report.context_tokens += span.first_position + span.num_tokens;
  num_not_started.fetch_sub(scheduler.num_first_planned());

  const Ticket ticket = executor.begin(plan);
  executor.sample(ticket, {mask_words, mask_words_per_row});
  const StepResult& result = executor.wait(ticket);

  const int num_rows = plan.num_tokens();
  const bool is_prefill = num_rows > 2 * static_cast<int>(plan.spans.size());
  const bool step_failed = result.failed;
  const Duration elapsed{result.elapsed_ns};
  scheduler.commit(result, now + elapsed, *this);
  num_failed_steps = step_failed ? num_failed_steps + 1 : 0;
  if (num_failed_steps >= kMaxFailedSteps) failed.store(true);
  if (metrics) metrics->on_step(num_rows, scheduler.num_preemptions());
  if (elapsed.count() <= 0) return;
  const auto average = [](std::atomic<double>& mean, double value) {
    const double old = mean.load(std::memory_order_relaxed);
    mean.store(old == 0 ? value : old + kAverageWeight * (value - old), std::memory_order_relaxed);
  };
  average(step_ms_mean, to_ms(elapsed));
  if (is_prefill) average(prefill_rate, num_rows / to_seconds(elapsed));
}

void Engine::Impl::collect_finished(TimePoint now) {
  for (const std::unique_ptr<Sequence>& sequence : scheduler.take_finished()) {
    Stream& stream = streams[static_cast<size_t>(sequence->stream_index)];
    stream.text->finish(*sequence, events_of(*stream.text));
    if (sequence->first_planned == TimePoint{}) num_not_started.fetch_sub(1);
    if (metrics) metrics->on_finish(*sequence, std::max(now, sequence->last_token));
    stream = {};
    free_streams.push_back(sequence->stream_index);
    report.worked = true;
  }
  // The slots' sampler states point into the sequences that die here.
  for (const SlotId slot : scheduler.released_slots()) executor.release(slot);
  scheduler.clear_released_slots();
}

std::vector<StreamEvent>& Engine::Impl::events_of(const ChoiceStream& text) {
  for (auto& [sink, events] : outbox) {
    if (sink == text.sink()) return events;
  }
  outbox.emplace_back(text.sink(), std::vector<StreamEvent>{});
  return outbox.back().second;
}

void Engine::Impl::publish() {
  for (auto& [sink, events] : outbox) {
    if (!events.empty()) sink->publish(std::exchange(events, {}));
  }
}

void Engine::Impl::publish_snapshot() {
  const int running = scheduler.num_running();
  const int waiting = scheduler.num_waiting();
  const int used = scheduler.blocks().num_used();
  num_running.store(running, std::memory_order_relaxed);
  num_waiting.store(waiting, std::memory_order_relaxed);
  num_blocks_used.store(used, std::memory_order_relaxed);
  num_steps.fetch_add(1, std::memory_order_relaxed);
  if (metrics)
    metrics->set_load(running, waiting, static_cast<double>(used) / std::max(1, limits.num_blocks));
}

}  // namespace sparrow
