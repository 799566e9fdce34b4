#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/check.h"
#include "engine/choice_stream.h"
#include "engine/engine_metrics.h"
#include "engine/inbox.h"
#include "engine/request_checks.h"
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
        scheduler(scheduler_options(limits, options)) {
    if (metrics_in != nullptr) {
      metrics.emplace(*metrics_in, options.model_name, options.speculation.max_tokens);
    }
    mask_words_per_row = (limits.vocab_size + 31) / 32;
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
  };

  FinishReason on_token(Sequence& sequence, const SampledToken& token,
                        std::span<const TokenLogprob> top) override {
    Stream& stream = streams[static_cast<size_t>(sequence.stream_index)];
    if (metrics) metrics->on_token(sequence, stream.last_token);
    stream.last_token = sequence.last_token;
    ++report.num_tokens_out;
    TokenMasker* masker = sequence.request->masker.get();
    if (masker != nullptr && !masker->accept(token.id)) return FinishReason::kError;
    const FinishReason reason = stream.text->push(token, top, sequence.num_output_tokens(),
                                                  sequence.max_tokens, events_of(*stream.text));
    if (reason == FinishReason::kNone) watch_thinking(sequence, *stream.text);
    return reason;
  }

  void drain();
  void release_slots();
  void start_request(Submission submission);
  void add_choice(const std::shared_ptr<const Request>& request, int choice, EventSink* sink);
  void assign_mask_rows(const BatchPlan& plan);
  void fill_masks(const BatchPlan& plan);
  void fill_mask_rows(const BatchPlan& plan, const Span& span, TokenMasker& masker);
  void watch_thinking(Sequence& sequence, const ChoiceStream& text);
  void close_thinking();
  void note_step(const BatchPlan& plan, bool step_failed, Duration elapsed, TimePoint now);
  void run_step(const BatchPlan& plan, TimePoint now);
  void collect_finished(TimePoint now);
  void note_finish(const Sequence& sequence);
  void publish();
  void publish_snapshot(TimePoint now);
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
  std::atomic<int> num_not_started{0};  // sequences submitted and not yet in a step
  CircuitBreaker breaker;
  mutable std::mutex snapshot_mutex;  // held for a copy of a few words, once a step
  LoadSnapshot published;             // guarded by snapshot_mutex

  // Engine thread only.
  Scheduler scheduler;
  std::vector<Stream> streams;
  std::vector<int32_t> free_streams;
  std::vector<std::pair<EventSink*, std::vector<StreamEvent>>> outbox;
  std::vector<Submission> submissions;
  std::vector<uint64_t> cancels;
  std::vector<uint64_t> retired;    // request ids of ended choices
  std::vector<Sequence*> to_close;  // their thinking ends with this step
  std::vector<uint32_t> mask_words;
  StepReport report;
  LoadSnapshot load;  // as of the last step
};

Engine::Engine(Executor& executor, const Tokenizer& tokenizer, const EngineOptions& options,
               MetricsRegistry* metrics)
    : impl_(std::make_unique<Impl>(executor, tokenizer, options, metrics)) {}

// The slots' sampler states point into the sequences that die with the engine.
Engine::~Engine() {
  impl_->scheduler.finish_all(FinishReason::kCancelled);
  impl_->release_slots();
}

Status Engine::submit(Request request, EventSink* sink) {
  Impl& impl = *impl_;
  CHECK(sink != nullptr);
  RETURN_IF_ERROR(validate_request(request, impl.max_context, impl.limits.vocab_size));
  std::vector<TokenId>& stop_ids = request.stop.token_ids;
  if (!std::is_sorted(stop_ids.begin(), stop_ids.end()))
    std::sort(stop_ids.begin(), stop_ids.end());
  if (!impl.breaker.try_pass(request.arrival)) {
    return unavailable("computing fails at present; a new try is made from time to time");
  }
  const int count = request.num_choices;
  if (impl.num_not_started.fetch_add(count) + count > impl.options.max_num_queued_reqs) {
    impl.num_not_started.fetch_sub(count);
    impl.breaker.give_back();
    return resource_exhausted(fmt::format("{} requests are waiting already (--max-num-queued-reqs)",
                                          impl.options.max_num_queued_reqs));
  }
  const Status accepted = impl.inbox.try_submit({std::move(request), sink});
  if (!accepted.ok()) {
    impl.num_not_started.fetch_sub(count);
    impl.breaker.give_back();
  }
  return accepted;
}

void Engine::cancel(uint64_t request_id) { impl_->inbox.cancel(request_id); }
void Engine::stop_accepting() { impl_->inbox.close(); }
void Engine::abort_all(FinishReason reason) { impl_->inbox.abort_all(reason); }
void Engine::wait_for_work(TimePoint until) { impl_->inbox.wait_until(until); }
void Engine::wake() { impl_->inbox.wake(); }
bool Engine::idle() const { return impl_->scheduler.idle() && impl_->inbox.empty(); }
void Engine::check_integrity() const { impl_->scheduler.check_integrity(); }

EngineSnapshot Engine::snapshot() const {
  std::lock_guard lock(impl_->snapshot_mutex);
  return impl_->published;
}

StepReport Engine::step(TimePoint now) {
  Impl& impl = *impl_;
  impl.report = {};
  impl.drain();
  impl.scheduler.expire(now);
  const bool is_open = impl.breaker.view().state == BreakerState::kOpen;
  if (is_open) impl.scheduler.finish_all(FinishReason::kError);
  const BatchPlan& plan = impl.scheduler.plan(now);
  impl.release_slots();
  if (!plan.empty()) impl.run_step(plan, now);
  impl.collect_finished(now);
  impl.publish();
  impl.publish_snapshot(now);
  impl.report.next_wakeup = impl.scheduler.earliest_deadline();
  return impl.report;
}

void Engine::Impl::release_slots() {
  for (const SlotId slot : scheduler.released_slots()) executor.release(slot);
  scheduler.clear_released_slots();
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
      std::make_unique<ChoiceStream>(tokenizer, request, choice, sink), kNever};
  const Stream& stream = streams[static_cast<size_t>(sequence->stream_index)];
  sequence->draft_end = stream.text->draft_limit(0, sequence->max_tokens);
  scheduler.add(std::move(sequence));
}

// Which spans are constrained is known when the step begins, their masks only later: with an
// overlapped order the masks of this step need the tokens of the one before.
void Engine::Impl::assign_mask_rows(const BatchPlan& plan) {
  int32_t num_rows = 0;
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    const bool is_constrained = scheduler.planned(i).request->masker != nullptr;
    if (!is_constrained || plan.spans[i].num_logit_rows == 0) continue;
    scheduler.set_mask_row(i, num_rows);
    num_rows += 1 + plan.spans[i].num_drafts;
  }
}

void Engine::Impl::fill_masks(const BatchPlan& plan) {
  mask_words.clear();
  for (size_t i = 0; i < plan.spans.size(); ++i) {
    if (plan.spans[i].mask_row < 0) continue;
    fill_mask_rows(plan, plan.spans[i], *scheduler.planned(i).request->masker);
  }
}

// A draft has the mask that follows the drafts before it. The masker walks over them and back
// again; behind a draft that may not come no row is ever sampled, so those masks stay empty.
void Engine::Impl::fill_mask_rows(const BatchPlan& plan, const Span& span, TokenMasker& masker) {
  const auto words = static_cast<size_t>(mask_words_per_row);
  const size_t begin = mask_words.size();
  mask_words.resize(begin + words * static_cast<size_t>(1 + span.num_drafts), 0);
  const int32_t first_draft = span.token_begin + span.num_tokens - span.num_drafts;
  int num_accepted = 0;
  while (true) {
    const std::span<uint32_t> row =
        std::span(mask_words).subspan(begin + words * static_cast<size_t>(num_accepted), words);
    // Unconstrained at this point: every token may come.
    if (!masker.fill(row)) std::fill(row.begin(), row.end(), ~0u);
    if (num_accepted == span.num_drafts) break;
    const auto draft =
        static_cast<size_t>(plan.token_ids[static_cast<size_t>(first_draft + num_accepted)]);
    const bool may_come = (row[draft / 32] >> (draft % 32) & 1u) != 0;
    if (!may_come || !masker.accept(static_cast<TokenId>(draft))) break;
    ++num_accepted;
  }
  if (num_accepted > 0) masker.roll_back(num_accepted);
}

// Synchronous order; begin, masks and wait stand where the overlapped order (begin(t + 1), wait(t),
// commit(t), masks(t + 1), sample(t + 1)) will put them.
void Engine::Impl::run_step(const BatchPlan& plan, TimePoint now) {
  assign_mask_rows(plan);
  num_not_started.fetch_sub(scheduler.num_first_planned());

  const Ticket ticket = executor.begin(plan);
  fill_masks(plan);
  executor.sample(ticket, {mask_words, mask_words_per_row});
  const StepResult& result = executor.wait(ticket);

  const Duration elapsed{std::max<int64_t>(result.elapsed_ns, 0)};
  note_step(plan, result.failed, elapsed, now);
  to_close.clear();
  scheduler.commit(result, now + elapsed, *this);
  close_thinking();
  if (metrics) metrics->on_speculation(scheduler.speculation());
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
    ChoiceStream& text = *streams[static_cast<size_t>(sequence->stream_index)].text;
    TokenMasker* masker = sequence->request->masker.get();
    FinishReason reason = FinishReason::kNone;
    for (const TokenId id : sequence->request->reasoning.closing) {
      scheduler.append_forced(*sequence, {&id, 1});
      if (metrics) metrics->on_token(*sequence, sequence->last_token);
      if (masker != nullptr && !masker->accept(id)) {
        reason = FinishReason::kError;
      } else {
        reason = text.push({.id = id}, {}, sequence->num_output_tokens(), sequence->max_tokens,
                           events_of(text));
      }
      if (reason != FinishReason::kNone) break;
    }
    sequence->draft_end = text.draft_limit(sequence->num_output_tokens(), sequence->max_tokens);
    if (reason != FinishReason::kNone) scheduler.finish(*sequence, reason);
  }
}

void Engine::Impl::note_step(const BatchPlan& plan, bool step_failed, Duration elapsed,
                             TimePoint now) {
  report.worked = true;
  report.num_spans = static_cast<int>(plan.spans.size());
  report.num_tokens_in = plan.num_tokens();
  report.executor_time = elapsed;
  for (const Span& span : plan.spans) {
    report.context_tokens += span.first_position + span.num_tokens;
    report.num_tokens_drafted += span.num_drafts;
  }
  if (step_failed) {
    breaker.on_failure(now + elapsed);
  } else {
    breaker.on_success();
  }
  if (metrics) metrics->on_step(plan.num_tokens(), scheduler.num_preemptions());
  if (step_failed || elapsed.count() <= 0) return;
  load.last_step_ms = to_ms(elapsed);
  average(load.step_ms_mean, to_ms(elapsed));
  const int num_known = plan.num_tokens() - report.num_tokens_drafted;
  const bool is_prefill = num_known > 2 * static_cast<int>(plan.spans.size());
  if (is_prefill) average(load.prefill_tokens_per_second, plan.num_tokens() / to_seconds(elapsed));
}

void Engine::Impl::collect_finished(TimePoint now) {
  retired.clear();
  const auto finished = scheduler.take_finished();
  for (const std::unique_ptr<Sequence>& sequence : finished) {
    Stream& stream = streams[static_cast<size_t>(sequence->stream_index)];
    stream.text->finish(*sequence, events_of(*stream.text));
    if (sequence->first_planned == kNever) num_not_started.fetch_sub(1);
    if (metrics) metrics->on_finish(*sequence, std::max(now, sequence->last_token));
    note_finish(*sequence);
    stream = {};
    free_streams.push_back(sequence->stream_index);
    retired.push_back(sequence->request->id);
    report.worked = true;
  }
  // Before their sequences die: the slots' sampler states point into them.
  release_slots();
  inbox.retire(retired);
}

void Engine::Impl::note_finish(const Sequence& sequence) {
  if (sequence.finish == FinishReason::kDeadline) {
    ++load.num_deadline_misses_in_a_row;
    return;
  }
  const bool is_whole = is_ordinary_end(sequence.finish);
  if (!is_whole) return;
  load.num_deadline_misses_in_a_row = 0;
  average(load.mean_output_tokens, sequence.num_output_tokens());
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
    if (!events.empty()) sink->publish(std::move(events));
  }
  outbox.clear();  // a sink may die once its requests have ended
}

void Engine::Impl::publish_snapshot(TimePoint now) {
  ++load.num_steps;
  const CircuitBreaker::View circuit = breaker.view();
  load.failed = circuit.has_given_up;
  load.breaker = circuit.state;
  load.breaker_retry_at = circuit.retry_at;
  load.num_running = scheduler.num_running();
  load.num_waiting = scheduler.num_waiting();
  load.num_waiting_prompt_tokens = scheduler.num_uncomputed_prompt_tokens();
  load.oldest_wait_ms = to_ms(scheduler.oldest_wait(now));
  load.num_blocks_live = scheduler.blocks().num_used();
  load.num_blocks_cached = scheduler.blocks().num_cached();
  const StepCost& cost = scheduler.step_cost();
  load.has_step_cost = cost.has_line();
  load.step_fixed_ms = cost.fixed_ms();
  load.step_row_ms = cost.row_ms();
  {
    std::lock_guard lock(snapshot_mutex);
    published = load;
  }
  if (!metrics) return;
  const double usage = static_cast<double>(load.num_blocks_live) / std::max(1, limits.num_blocks);
  metrics->set_load(load.num_running, load.num_waiting, usage);
}

}  // namespace sparrow
