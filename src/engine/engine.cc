#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>

#include "admission/queue_room.h"
#include "base/check.h"
#include "engine/choice_stream.h"
#include "engine/deadline_misses.h"
#include "engine/engine_metrics.h"
#include "engine/failure.h"
#include "engine/inbox.h"
#include "engine/load_report.h"
#include "engine/outbox.h"
#include "engine/request_checks.h"
#include "engine/step_pipeline.h"
#include "scheduler/scheduler.h"

namespace sparrow {
namespace {

// Weight of the newest value in the moving averages of the snapshot.
constexpr double kAverageWeight = 0.1;

SchedulerOptions scheduler_options(const ExecutorLimits& limits, const EngineOptions& options) {
  return {.block_tokens = limits.block_tokens,
          .num_blocks = limits.num_blocks,
          .num_slots = limits.num_slots,
          .max_batch_tokens = limits.max_batch_tokens,
          .max_num_seqs = options.max_num_seqs,
          .max_num_batched_tokens = options.max_num_batched_tokens,
          .max_step_ms = options.max_step_ms,
          .seat_patience_ms = options.seat_patience_ms,
          .speculation = options.speculation,
          .prefix = options.prefix};
}

void average(double& mean, double value) {
  mean = mean == 0 ? value : mean + kAverageWeight * (value - mean);
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
        breaker(options.breaker),
        scheduler(scheduler_options(limits, options)),
        room{options.max_num_queued_reqs, scheduler.max_running()},
        pipeline(executor) {
    if (metrics_in != nullptr) {
      metrics.emplace(*metrics_in,
                      EngineMetricsOptions{.model_name = options.model_name,
                                           .engine_index = options.index,
                                           .max_draft_tokens = options.speculation.max_tokens,
                                           .block_tokens = limits.block_tokens,
                                           .num_blocks = limits.num_blocks,
                                           .max_context_tokens = max_context,
                                           .legacy_names = options.legacy_metric_names});
    }
    load.num_blocks_total = limits.num_blocks;
    load.max_num_running = scheduler.max_running();
    load.max_step_ms = options.max_step_ms;
    load.max_step_rows = std::min(options.max_num_batched_tokens, limits.max_batch_tokens);
    published = load;
  }

  // Text state of one sequence, and when its last token came.
  struct Stream {
    std::unique_ptr<ChoiceStream> text;
    TimePoint last_token = kNever;
    bool was_planned = false;
    bool has_answered = false;  // a token behind the thinking came
    int num_cached = 0;         // prompt tokens found in the prefix cache at the first step
  };

  // What one sequence's text throws (tokenizer, masker, memory) ends that sequence alone.
  FinishReason on_token(Sequence& sequence, const SampledToken& token,
                        std::span<const TokenLogprob> top) override {
    try {
      return take_token(sequence, token, top);
    } catch (...) {
      return reason_of_exception("the text of a token");
    }
  }

  FinishReason take_token(Sequence& sequence, const SampledToken& token,
                          std::span<const TokenLogprob> top);
  void step(TimePoint now);
  void drain();
  void release_slots();
  void start_request(Submission& submission);
  void refuse_choice(const Submission& submission, uint64_t request_id, int choice,
                     FinishReason reason);
  void add_choice(const std::shared_ptr<const Request>& request, int choice, EventSink* sink);
  void watch_thinking(Sequence& sequence, const ChoiceStream& text);
  void close_thinking();
  FinishReason push_closing(Sequence& sequence, ChoiceStream& text);
  void note_step(const BatchPlan& plan, const FinishedStep& step, Duration elapsed);
  void note_planned(const Sequence& sequence);
  void start_step(TimePoint now);
  void announce(const BatchPlan& plan);
  void start_step_ahead(TimePoint now);
  void finish_step(TimePoint now);
  TimePoint end_of(const FinishedStep& step, Duration elapsed, TimePoint now) const;
  void on_broken_step(TimePoint now);
  void collect_finished(TimePoint now);
  void tell_end(const Sequence& sequence, TimePoint now);
  void observe_end(const Sequence& sequence, const Stream& stream, TimePoint now) noexcept;
  void note_finish(const Sequence& sequence);
  void publish_snapshot(TimePoint now);
  std::vector<StreamEvent>& events_of(const ChoiceStream& text) {
    return outbox.events_of(text.sink());
  }

  // Constant after construction.
  Executor& executor;
  const Tokenizer& tokenizer;
  const EngineOptions options;
  const ExecutorLimits limits;
  const int max_context;
  std::optional<EngineMetrics> metrics;

  // Shared with other threads; each provides its own synchronization.
  Inbox inbox;
  std::atomic<int> num_not_started{0};  // sequences submitted and not yet in a step
  std::atomic<int> num_started{0};      // those that were, preempted ones too
  CircuitBreaker breaker;
  Heartbeat heartbeat;
  mutable std::mutex snapshot_mutex;  // held for a copy of a few words, once a step
  LoadSnapshot published;             // guarded by snapshot_mutex

  // Engine thread only.
  Scheduler scheduler;
  const QueueRoom room;  // constant, for every thread
  std::vector<Stream> streams;
  std::vector<int32_t> free_streams;
  Outbox outbox;
  std::vector<Submission> submissions;
  std::vector<uint64_t> cancels;
  std::vector<Sequence*> to_close;  // their thinking ends with this step
  // Ended sequences; the first num_told have said so to their sinks. More than one step holds them
  // only when memory runs out in between.
  std::vector<std::unique_ptr<Sequence>> finished;
  size_t num_told = 0;
  std::vector<std::unique_ptr<Sequence>> leaving;  // told, and still in a step on its way
  std::vector<uint64_t> retired;                   // request ids of finished, told ones
  bool must_abort = false;                         // planning threw: what runs cannot go on
  StepPipeline pipeline;
  TimePoint last_step_end{};
  StepReport report;
  DeadlineMisses misses;
  CachedPromptShare cached_share;
  LoadSnapshot load;  // as of the last step
};

Engine::Engine(Executor& executor, const Tokenizer& tokenizer, const EngineOptions& options,
               MetricsRegistry* metrics)
    : impl_(std::make_unique<Impl>(executor, tokenizer, options, metrics)) {}

// The slots' sampler states point into the sequences that die with the engine.
Engine::~Engine() {
  impl_->pipeline.finish_all();
  impl_->scheduler.abandon_steps();
  impl_->scheduler.finish_all(FinishReason::kCancelled);
  impl_->release_slots();
}

Status Engine::submit(Request request, EventSink* sink) {
  Impl& impl = *impl_;
  CHECK(sink != nullptr);
  RETURN_IF_ERROR(validate_request(request, impl.max_context, impl.limits.vocab_size));
  const int count = request.num_choices;
  if (count > impl.room.most_at_once()) {
    return invalid_argument(
        fmt::format("n: {} answers at once are more than the {} that this server ever takes "
                    "(--max-num-queued-reqs, --max-num-seqs)",
                    count, impl.room.most_at_once()));
  }
  std::vector<TokenId>& stop_ids = request.stop.token_ids;
  if (!std::is_sorted(stop_ids.begin(), stop_ids.end()))
    std::sort(stop_ids.begin(), stop_ids.end());
  if (!impl.breaker.try_pass(request.arrival)) {
    return unavailable("computing fails at present; a new try is made from time to time");
  }
  if (!impl.room.has_place_for(0, impl.num_not_started.fetch_add(count) + count,
                               impl.num_started)) {
    impl.num_not_started.fetch_sub(count);
    impl.breaker.give_back();
    return resource_exhausted(fmt::format("{} requests are waiting already (--max-num-queued-reqs)",
                                          impl.options.max_num_queued_reqs));
  }
  const auto give_back = [&] {
    impl.num_not_started.fetch_sub(count);
    impl.breaker.give_back();
  };
  try {
    Status accepted = impl.inbox.try_submit({std::move(request), sink});
    if (!accepted.ok()) give_back();
    return accepted;
  } catch (const std::bad_alloc&) {
    give_back();
    return resource_exhausted("the server has no memory left for another request");
  }
}

void Engine::cancel(uint64_t request_id) { impl_->inbox.cancel(request_id); }
void Engine::stop_accepting() { impl_->inbox.close(); }
void Engine::abort_all(FinishReason reason) { impl_->inbox.abort_all(reason); }
void Engine::wait_for_work(TimePoint until) { impl_->inbox.wait_until(until); }
void Engine::wake() { impl_->inbox.wake(); }
bool Engine::idle() const {
  const Impl& impl = *impl_;
  const bool all_told = impl.finished.empty() && impl.outbox.empty() && !impl.must_abort;
  return all_told && impl.pipeline.empty() && impl.scheduler.idle() && impl.inbox.empty();
}
void Engine::check_integrity() const { impl_->scheduler.check_integrity(); }

EngineSnapshot Engine::snapshot() const {
  std::lock_guard lock(impl_->snapshot_mutex);
  return impl_->published;
}

Beat Engine::beat() const {
  Beat beat = impl_->heartbeat.read();
  beat.failed = impl_->breaker.view().has_given_up;
  return beat;
}

StepReport Engine::step(TimePoint now) {
  Impl& impl = *impl_;
  impl.report = {};
  impl.heartbeat.begin_step(now);
  try {
    impl.step(now);
  } catch (...) {
    impl.on_broken_step(now);
  }
  impl.report.next_wakeup = impl.scheduler.earliest_deadline();
  return impl.report;
}

void Engine::Impl::step(TimePoint now) {
  if (must_abort) scheduler.finish_all(FinishReason::kError);
  must_abort = false;
  drain();
  if (scheduler.idle()) misses.forget();  // a load that is gone says nothing about the next one
  scheduler.expire(now);
  const bool is_open = breaker.view().state == BreakerState::kOpen;
  if (is_open) {
    scheduler.finish_unplanned(FinishReason::kUnavailable);
    scheduler.finish_all(FinishReason::kError);
  }
  if (pipeline.empty()) start_step(now);
  if (!pipeline.empty()) finish_step(now);
  collect_finished(now);
  if (!outbox.publish()) report.worked = true;
  publish_snapshot(now);
}

// Out of memory while planning: lists may be half written, so everything running ends, at the next
// step (this one may fail again), and the server goes on.
void Engine::Impl::on_broken_step(TimePoint now) {
  reason_of_exception("a step outside the executor");
  breaker.on_failure(now);
  must_abort = true;
  report.worked = true;
}

void Engine::Impl::release_slots() {
  for (const SlotId slot : scheduler.released_slots()) pipeline.release(slot);
  scheduler.clear_released_slots();
}

FinishReason Engine::Impl::take_token(Sequence& sequence, const SampledToken& token,
                                      std::span<const TokenLogprob> top) {
  Stream& stream = streams[static_cast<size_t>(sequence.stream_index)];
  if (metrics) metrics->on_token(sequence, stream.last_token, stream.num_cached);
  stream.last_token = sequence.last_token;
  ++report.num_tokens_out;
  TokenMasker* masker = sequence.request->masker.get();
  if (masker != nullptr && !masker->accept(token.id)) return FinishReason::kError;
  const FinishReason reason = stream.text->push(token, top, sequence.num_output_tokens(),
                                                sequence.max_tokens, events_of(*stream.text));
  if (!stream.has_answered && stream.text->has_answer()) {
    stream.has_answered = true;
    if (metrics) metrics->on_first_answer_token(sequence);
  }
  if (reason == FinishReason::kNone) watch_thinking(sequence, *stream.text);
  return reason;
}

void Engine::Impl::drain() {
  const std::optional<Inbox::Abort> abort = inbox.drain(submissions, cancels);
  for (size_t i = 0; i < submissions.size(); ++i) {
    if (abort && i == abort->num_before) scheduler.finish_all(abort->reason);
    start_request(submissions[i]);
  }
  if (abort && abort->num_before >= submissions.size()) scheduler.finish_all(abort->reason);
  for (const uint64_t id : cancels) scheduler.finish_request(id, FinishReason::kCancelled);
}

// A request that there is no memory for is told so; the others go on.
void Engine::Impl::start_request(Submission& submission) {
  const uint64_t id = submission.request.id;
  const int num_choices = submission.request.num_choices;
  int num_added = 0;
  try {
    const auto request = std::make_shared<const Request>(std::move(submission.request));
    for (; num_added < num_choices; ++num_added) add_choice(request, num_added, submission.sink);
  } catch (...) {
    const FinishReason reason = reason_of_exception("the start of a request");
    scheduler.finish_request(id, reason);
    for (; num_added < num_choices; ++num_added) {
      refuse_choice(submission, id, num_added, reason);
    }
  }
}

void Engine::Impl::refuse_choice(const Submission& submission, uint64_t request_id, int choice,
                                 FinishReason reason) {
  StreamEvent event;
  event.request_id = request_id;
  event.choice = choice;
  event.finish = reason;
  outbox.events_of(submission.sink).push_back(std::move(event));
  num_not_started.fetch_sub(1);
  inbox.retire({&request_id, 1});
  report.worked = true;
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
  auto text = std::make_unique<ChoiceStream>(tokenizer, request, choice, sink);
  if (free_streams.empty()) {
    streams.emplace_back();
    free_streams.reserve(streams.capacity());  // so that giving one back cannot fail
    free_streams.push_back(static_cast<int32_t>(streams.size() - 1));
  }
  const int32_t index = sequence->stream_index = free_streams.back();
  sequence->draft_end = text->draft_limit(0, sequence->max_tokens);
  scheduler.add(std::move(sequence));
  free_streams.pop_back();
  streams[static_cast<size_t>(index)] = {.text = std::move(text)};
}

// The sequence's first step: it leaves the queue, and what the prefix cache gave it is known.
void Engine::Impl::note_planned(const Sequence& sequence) {
  Stream& stream = streams[static_cast<size_t>(sequence.stream_index)];
  if (std::exchange(stream.was_planned, true)) return;
  num_started.fetch_add(1);
  num_not_started.fetch_sub(1);
  stream.num_cached = std::min(sequence.num_cached, sequence.num_prompt_tokens);
  // The other choices find the prompt of the first.
  if (sequence.params.choice == 0) {
    cached_share.on_start(sequence.num_prompt_tokens, stream.num_cached);
  }
  if (metrics && options.prefix.enabled) {
    metrics->on_prefix_cache(sequence.num_prompt_tokens, stream.num_cached);
  }
}

void Engine::Impl::start_step(TimePoint now) {
  const BatchPlan& plan = scheduler.plan(now);
  release_slots();
  if (plan.empty()) return;
  for (size_t i = 0; i < plan.spans.size(); ++i) note_planned(scheduler.planned(i));
  announce(plan);
  pipeline.start(scheduler, plan);
}

// While one step is on its way the next may follow, so that the executor goes on while the tokens
// of the first become text. Whoever has come meanwhile, or must be told something at the boundary
// of two steps, does not wait for more than the steps on their way.
void Engine::Impl::start_step_ahead(TimePoint now) {
  if (!pipeline.has_room_ahead() || !inbox.empty()) return;
  try {
    const BatchPlan& plan = scheduler.plan_ahead(now);
    if (!plan.empty()) pipeline.start_ahead(plan);
  } catch (...) {  // then the step is planned when this one is over
    reason_of_exception("planning ahead");
  }
}

void Engine::Impl::finish_step(TimePoint now) {
  const BatchPlan& plan = pipeline.oldest();
  announce(plan);
  start_step_ahead(now);
  const FinishedStep step = pipeline.finish_oldest();
  heartbeat.end_compute();
  const Duration elapsed{std::max<int64_t>(step.result.elapsed_ns, 0)};
  last_step_end = end_of(step, elapsed, now);
  note_step(plan, step, elapsed);
  to_close.clear();
  scheduler.commit(step.result, last_step_end, *this);
  close_thinking();
  if (metrics) metrics->on_speculation(scheduler.speculation());
}

// A step behind another took its time from the end of that one. `now` is somewhere in between, if
// the clock goes as it should.
TimePoint Engine::Impl::end_of(const FinishedStep& step, Duration elapsed, TimePoint now) const {
  if (!step.was_ahead) return now + elapsed;
  return std::clamp(last_step_end + elapsed, now, now + elapsed);
}

// What the executor is at: the older step, if there are two.
void Engine::Impl::announce(const BatchPlan& plan) {
  const StepCost& cost = scheduler.step_cost();
  heartbeat.begin_compute(plan.step, static_cast<int>(plan.spans.size()), plan.num_tokens(),
                          cost.known() ? cost.predict_ms(plan.num_tokens()) : 0);
}

// Called with every token, so that the step in which the thinking ends has no guesses beyond it.
void Engine::Impl::watch_thinking(Sequence& sequence, const ChoiceStream& text) {
  const int num_output = sequence.num_output_tokens();
  sequence.draft_end = text.draft_limit(num_output, sequence.max_tokens);
  if (text.thinking_left(num_output, sequence.max_tokens) == 0) to_close.push_back(&sequence);
}

// The closing tokens count and stream like sampled ones; the next step computes them.
void Engine::Impl::close_thinking() {
  for (Sequence* sequence : to_close) {
    if (sequence->state == SequenceState::kFinished) continue;  // for want of memory
    ChoiceStream& text = *streams[static_cast<size_t>(sequence->stream_index)].text;
    FinishReason reason = FinishReason::kNone;
    try {
      reason = push_closing(*sequence, text);
    } catch (...) {
      reason = reason_of_exception("the end of a thinking");
    }
    sequence->draft_end = text.draft_limit(sequence->num_output_tokens(), sequence->max_tokens);
    if (reason != FinishReason::kNone) scheduler.finish(*sequence, reason);
  }
}

FinishReason Engine::Impl::push_closing(Sequence& sequence, ChoiceStream& text) {
  const Stream& stream = streams[static_cast<size_t>(sequence.stream_index)];
  TokenMasker* masker = sequence.request->masker.get();
  for (const TokenId id : sequence.request->reasoning.closing) {
    scheduler.append_forced(sequence, {&id, 1});
    if (metrics) metrics->on_token(sequence, sequence.last_token, stream.num_cached);
    if (masker != nullptr && !masker->accept(id)) return FinishReason::kError;
    const FinishReason reason = text.push({.id = id}, {}, sequence.num_output_tokens(),
                                          sequence.max_tokens, events_of(text));
    if (reason != FinishReason::kNone) return reason;
  }
  return FinishReason::kNone;
}

void Engine::Impl::note_step(const BatchPlan& plan, const FinishedStep& step, Duration elapsed) {
  report.worked = true;
  report.num_spans = static_cast<int>(plan.spans.size());
  report.num_tokens_in = plan.num_tokens();
  report.executor_time = elapsed;
  for (const Span& span : plan.spans) {
    report.context_tokens += span.first_position + span.num_tokens;
    report.num_tokens_drafted += span.num_drafts;
  }
  if (step.is_worthless) return;
  const bool step_failed = step.result.failed;
  if (step_failed) {
    breaker.on_failure(last_step_end);
  } else {
    breaker.on_success();
  }
  if (metrics) {
    metrics->on_step(plan.num_tokens(), to_seconds(elapsed), step_failed,
                     scheduler.num_preemptions());
  }
  if (step_failed || elapsed.count() <= 0) return;
  load.last_step_ms = to_ms(elapsed);
  average(load.step_ms_mean, to_ms(elapsed));
  const int num_known = plan.num_tokens() - report.num_tokens_drafted;
  const bool is_prefill = num_known > 2 * static_cast<int>(plan.spans.size());
  if (is_prefill) average(load.prefill_tokens_per_second, plan.num_tokens() / to_seconds(elapsed));
}

// Every ended sequence says so exactly once, even if memory runs out in between: then the rest of
// them waits for the next step.
void Engine::Impl::collect_finished(TimePoint now) {
  try {
    if (finished.empty()) finished = scheduler.take_finished();
    retired.reserve(finished.size());
    leaving.reserve(leaving.size() + finished.size());
    while (num_told < finished.size()) tell_end(*finished[num_told], now);
  } catch (...) {
    reason_of_exception("the end of a request");
    report.worked = true;
    return;
  }
  // Before their sequences die: the slots' sampler states point into them.
  release_slots();
  inbox.retire(retired);
  retired.clear();
  std::move(finished.begin(), finished.end(), std::back_inserter(leaving));
  std::erase_if(leaving, [](const auto& sequence) { return sequence->num_steps_on_way == 0; });
  finished.clear();
  num_told = 0;
}

void Engine::Impl::tell_end(const Sequence& sequence, TimePoint now) {
  Stream& stream = streams[static_cast<size_t>(sequence.stream_index)];
  stream.text->finish(sequence, events_of(*stream.text));
  // Nothing below fails: the choice is told of once.
  ++num_told;
  retired.push_back(sequence.request->id);
  (stream.was_planned ? num_started : num_not_started).fetch_sub(1);
  observe_end(sequence, stream, now);
  note_finish(sequence);
  free_streams.push_back(sequence.stream_index);
  stream = {};
  report.worked = true;
}

void Engine::Impl::observe_end(const Sequence& sequence, const Stream& stream,
                               TimePoint now) noexcept {
  if (!metrics) return;
  try {
    metrics->on_finish({.sequence = sequence,
                        .now = std::max(now, sequence.last_token),
                        .num_cached = stream.num_cached,
                        .num_reasoning_tokens = stream.text->num_reasoning_tokens(),
                        .has_empty_thinking = stream.text->has_empty_thinking()});
  } catch (...) {  // a number less is not worth a request
    reason_of_exception("the metrics of a request");
  }
}

void Engine::Impl::note_finish(const Sequence& sequence) {
  if (sequence.finish == FinishReason::kDeadline) {
    misses.on_miss(sequence.request->id);
    return;
  }
  const bool is_whole = is_ordinary_end(sequence.finish);
  if (!is_whole) return;
  misses.forget();
  average(load.mean_output_tokens, sequence.num_output_tokens());
}

void Engine::Impl::publish_snapshot(TimePoint now) {
  ++load.num_steps;
  const CircuitBreaker::View circuit = breaker.view();
  load.failed = circuit.has_given_up;
  load.breaker = circuit.state;
  load.breaker_retry_at = circuit.retry_at;
  load.num_deadline_misses_in_a_row = misses.count();
  report_scheduler(scheduler, cached_share.value(), now, load);
  {
    std::lock_guard lock(snapshot_mutex);
    published = load;
  }
  if (metrics) metrics->set_load(load, scheduler.blocks().num_evictions());
}

}  // namespace sparrow
