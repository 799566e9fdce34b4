// What holds in every simulated run, after every step and at every end.

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "engine/test_support.h"
#include "oracle.h"
#include "simulation.h"

namespace sparrow {
namespace {

// What one step and the flush at an end may add to a stream.
constexpr size_t kMaxStepBytes = 4096;

bool passed(const std::optional<TimePoint>& deadline, TimePoint now) {
  return deadline.has_value() && *deadline <= now;
}

// Index of the metrics' word for an end: stop, length, abort, error.
size_t metrics_reason(FinishReason reason) {
  if (reason == FinishReason::kStopToken || reason == FinishReason::kStopString) return 0;
  if (reason == FinishReason::kMaxTokens || reason == FinishReason::kContextFull) return 1;
  return reason == FinishReason::kCancelled || reason == FinishReason::kDeadline ? 2 : 3;
}

constexpr const char* kMetricsReasons[] = {"stop", "length", "abort", "error"};

}  // namespace

void Simulation::violate(const Job& job, int choice, const char* what) {
  violate(fmt::format("request {} (tag {}) choice {}: {}", job.request.id, job.stream.tag, choice,
                      what));
}

void Simulation::on_event(SimStream& stream, const StreamEvent& event) {
  log_.add(step_, "event (request, tokens)", event.request_id,
           static_cast<int64_t>(event.tokens.size()));
  if (stream.buffered_bytes > SimClient::kMaxBufferedBytes + kMaxStepBytes) {
    violate(fmt::format("request {} holds more than its buffer", event.request_id));
  }
  if (event.finish == FinishReason::kNone) return;
  log_.add(step_, finish_reason_name(event.finish), event.request_id, event.choice);
  const Job& job = jobs_[stream.tag];
  check_choice(job, event.choice);
  count_choice(job, event.choice);
}

void Simulation::check_choice(const Job& job, int choice) {
  const FinishReason finish = job.stream.choices[static_cast<size_t>(choice)].finish;
  if (job.must_end_now && finish != FinishReason::kCancelled) {
    violate(job, choice, "did not end with its cancel");
  }
  if (!is_ordinary_end(finish) && !has_cause(job, choice)) {
    violate(job, choice, "ended without a cause of its own");
  }
  check_tokens(job, choice);
}

// The constraint broke on a token it had allowed; that token is not shown.
bool Simulation::was_refused_a_token(const Job& job, int choice) const {
  const ChoiceTranscript& got = job.stream.choices[static_cast<size_t>(choice)];
  return got.finish == FinishReason::kError && job.mask.refuses_at >= 0 &&
         got.tokens.size() == static_cast<size_t>(job.mask.refuses_at) &&
         !record(job, choice).saw_failed_step && !is_breaker_open();
}

// One's fault is never another's end.
bool Simulation::has_cause(const Job& job, int choice) const {
  const Request& request = job.request;
  const ChoiceTranscript& got = job.stream.choices[static_cast<size_t>(choice)];
  const ChoiceRecord& seen = record(job, choice);
  switch (got.finish) {
    case FinishReason::kCancelled:
      return job.must_end_now;
    case FinishReason::kDeadline:
      return passed(request.total_deadline, now_) ||
             (got.tokens.empty() && passed(request.first_token_deadline, now_)) ||
             (seen.num_starts == 0 && passed(request.queue_deadline, now_));
    case FinishReason::kUnavailable:
      return is_breaker_open() && seen.num_starts == 0;
    case FinishReason::kNotFinite:
      return seen.saw_not_finite;
    case FinishReason::kError:
      return seen.saw_failed_step || is_breaker_open() || was_refused_a_token(job, choice);
    default:
      return false;
  }
}

void Simulation::check_tokens(const Job& job, int choice) {
  const ChoiceTranscript& got = job.stream.choices[static_cast<size_t>(choice)];
  const Request& request = job.request;
  SamplingParams params = request.sampling;
  params.choice = choice;
  const int room = max_context_ - static_cast<int>(request.prompt.size());
  const int max_tokens = std::min(request.stop.max_tokens, room);
  const auto count = static_cast<int>(got.tokens.size());
  if (count > max_tokens) violate(job, choice, "too many tokens");
  SimMasker masker(job.mask);
  const std::vector<TokenId> alone = executor_.fake().expected_tokens(
      request.prompt, count, params, request.stop.token_ids, request.stop.min_tokens,
      job.mask.seed != 0 ? &masker : nullptr);
  if (got.tokens != alone) return violate(job, choice, "other tokens than alone");
  const Outcome outcome = expected_outcome(*tokenizer_, request, alone, max_tokens);
  if (got.answer != outcome.answer) violate(job, choice, "another answer than alone");
  if (got.reasoning != outcome.reasoning) violate(job, choice, "other thoughts than alone");
  const bool is_right_end = is_ordinary_end(got.finish) ? got.finish == outcome.finish
                                                        : outcome.finish == FinishReason::kNone;
  if (!is_right_end) violate(job, choice, "another reason to end than alone");
  check_usage(job, choice, outcome.num_reasoning_tokens);
}

void Simulation::check_usage(const Job& job, int choice, int num_reasoning_tokens) {
  const ChoiceTranscript& got = job.stream.choices[static_cast<size_t>(choice)];
  const ChoiceRecord& seen = record(job, choice);
  const ChoiceUsage& usage = got.usage;
  const int num_hidden = was_refused_a_token(job, choice) ? 1 : 0;
  if (usage.num_output_tokens != static_cast<int>(got.tokens.size()) + num_hidden ||
      usage.num_prompt_tokens != static_cast<int>(job.request.prompt.size()) ||
      usage.num_reasoning_tokens != num_reasoning_tokens) {
    violate(job, choice, "wrong usage");
  }
  if (usage.num_output_tokens > seen.num_sampled) violate(job, choice, "tokens nobody sampled");
  if (seen.num_starts == 1 && usage.num_cached_tokens != seen.first_cached) {
    violate(job, choice, "cached_tokens is not what was found computed");
  }
  if (usage.num_cached_tokens >= usage.num_prompt_tokens) {
    violate(job, choice, "no token of the prompt was computed");
  }
  const bool is_monotone =
      !faults_.is_active(FaultKind::kClockBack) && !faults_.is_active(FaultKind::kClockFrozen);
  const bool has_order = usage.queue_time >= Duration{} && usage.prefill_time >= Duration{} &&
                         usage.decode_time >= Duration{};
  if (is_monotone && !has_order) violate(job, choice, "an effect before its cause");
  // Room asked for doubles with every preemption; a newcomer may take it once more.
  const auto num_blocks = static_cast<unsigned>(workload_.executor.limits.num_blocks);
  const int most_preemptions = 2 + static_cast<int>(std::bit_width(num_blocks));
  if (seen.num_starts - 1 > most_preemptions + seen.num_starts_of_others) {
    violate(job, choice, "preempted over and over");
  }
}

void Simulation::count_choice(const Job& job, int choice) {
  const ChoiceTranscript& got = job.stream.choices[static_cast<size_t>(choice)];
  const ChoiceRecord& seen = record(job, choice);
  SimulationCounts& counts = result_.counts;
  --num_open_choices_;
  if (seen.num_starts == 0) {
    --num_not_started_;
    order_.drop(job.stream.tag, choice);
  } else {
    counts.num_prompt_tokens += job.request.prompt.size();
    counts.num_cached_tokens += static_cast<uint64_t>(seen.first_cached);
  }
  counts.num_tokens += got.tokens.size();
  counts.num_ordinary_ends += is_ordinary_end(got.finish) ? 1u : 0u;
  num_counted_tokens_ += static_cast<uint64_t>(got.usage.num_output_tokens);
  if (got.usage.num_output_tokens > 0) num_counted_prompt_tokens_ += job.request.prompt.size();
  ++num_finished_[metrics_reason(got.finish)];
}

void Simulation::check_step(const StepReport& report) {
  num_in_inbox_ = 0;
  log_.add(step_, "step (rows, tokens)", static_cast<uint64_t>(report.num_tokens_in),
           report.num_tokens_out);
  engine_->check_integrity();
  if (!executor_.violation().empty()) violate(executor_.violation());
  const ExecutorLimits& limits = workload_.executor.limits;
  const EngineOptions& options = workload_.engine;
  if (report.num_tokens_in != executor_.num_rows()) violate("rows reported are not rows computed");
  if (report.num_tokens_in > std::min(limits.max_batch_tokens, options.max_num_batched_tokens)) {
    violate("more rows than allowed");
  }
  if (report.num_tokens_drafted > 0 && report.num_tokens_in > options.speculation.max_rows) {
    violate("guesses in a large step");
  }
  if (report.num_spans > std::min(limits.num_slots, options.max_num_seqs)) {
    violate("more sequences than allowed");
  }
  check_starts();
  for (const size_t tag : live_) check_live_job(jobs_[tag]);
  settle_ended();
  if (!report.worked && !live_.empty()) violate("an idle step although a request waits");
  const bool has_work = !live_.empty() || executor_.num_on_way() > 0;
  if (engine_->idle() == has_work) violate("idle with live requests, or busy without");
  check_snapshot();
  check_next_wakeup(report);
  executor_.forget_step();
}

void Simulation::settle_ended() {
  for (const size_t tag : live_) {
    const Job& job = jobs_[tag];
    if (!job.has_ended()) continue;
    auto num_tokens = static_cast<int64_t>(job.request.prompt.size());
    for (const ChoiceTranscript& choice : job.stream.choices) {
      num_tokens += static_cast<int64_t>(choice.tokens.size());
    }
    door_.on_end(tag, num_tokens);
  }
  std::erase_if(live_, [&](size_t tag) { return jobs_[tag].has_ended(); });
}

void Simulation::check_starts() {
  for (const Start& start : executor_.starts()) {
    log_.add(step_, start.is_first ? "start (tag, choice)" : "resume (tag, choice)", start.tag,
             start.choice);
    if (!start.is_first) continue;
    check_reuse(start);
    --num_not_started_;
    const std::string wrong = order_.start(start.tag, start.choice,
                                           [this](size_t tag) { return may_wait_for_prefix(tag); });
    if (!wrong.empty()) violate(wrong);
  }
}

void Simulation::check_live_job(const Job& job) {
  if (job.has_ended()) return;
  if (job.must_end_now) violate(job, 0, "outlived its cancel");
  const Request& request = job.request;
  for (int choice = 0; choice < request.num_choices; ++choice) {
    if (job.stream.choices[static_cast<size_t>(choice)].has_ended()) continue;
    const ChoiceRecord& seen = record(job, choice);
    if (seen.saw_failed_step) violate(job, choice, "outlived its failed step");
    if (seen.saw_not_finite) violate(job, choice, "outlived its NaN");
    const bool is_late = passed(request.total_deadline, now_) ||
                         (seen.num_sampled == 0 && passed(request.first_token_deadline, now_)) ||
                         (seen.num_starts == 0 && passed(request.queue_deadline, now_));
    if (is_late) violate(job, choice, "outlived its deadline");
  }
}

void Simulation::check_snapshot() {
  const EngineSnapshot snapshot = engine_->snapshot();
  // Who has ended may hold a slot as long as a step on its way reads it.
  const int num_held = executor_.num_held_slots_if([this](size_t tag, int choice) {
    return !jobs_[tag].stream.choices[static_cast<size_t>(choice)].has_ended();
  });
  if (snapshot.num_running != num_held) violate("slots leaked");
  if (snapshot.num_running + snapshot.num_waiting != num_open_choices_) {
    violate("running and waiting choices are not those that live");
  }
  if (snapshot.num_waiting < num_not_started_) violate("fewer choices wait than were not started");
  if (snapshot.num_blocks_live + snapshot.num_blocks_cached > snapshot.num_blocks_total) {
    violate("more blocks than there are");
  }
  const bool is_quiet = live_.empty() && executor_.num_on_way() == 0;
  if (is_quiet && snapshot.num_blocks_live != 0) violate("blocks leaked");
  log_.add(step_, "blocks (live, cached)", static_cast<uint64_t>(snapshot.num_blocks_live),
           snapshot.num_blocks_cached);
}

void Simulation::check_next_wakeup(const StepReport& report) {
  std::optional<TimePoint> earliest;
  const auto consider = [&](const std::optional<TimePoint>& deadline) {
    if (deadline && (!earliest || *deadline < *earliest)) earliest = deadline;
  };
  for (const size_t tag : live_) {
    const Job& job = jobs_[tag];
    for (int choice = 0; choice < job.request.num_choices; ++choice) {
      if (job.stream.choices[static_cast<size_t>(choice)].has_ended()) continue;
      const ChoiceRecord& seen = record(job, choice);
      consider(job.request.total_deadline);
      if (seen.num_sampled == 0) consider(job.request.first_token_deadline);
      if (seen.num_starts == 0) consider(job.request.queue_deadline);
    }
  }
  if (report.next_wakeup != earliest) violate("the next wake-up is not the earliest deadline");
}

void Simulation::check_end() {
  if (is_torn_down_) {
    engine_.reset();
    if (executor_.num_held_slots() != 0) violate("slots leaked by a destroyed engine");
    return;
  }
  if (!live_.empty() || num_open_choices_ != 0) violate("requests were lost");
  if (num_not_started_ != 0) violate("the queue is not empty at the end");
  if (engine_->snapshot().num_blocks_live != 0) violate("blocks leaked at the end");
  if (executor_.num_held_slots() != 0) violate("slots leaked at the end");
  if (workload_.door.is_there) door_.check_end(now_);
  check_counters();
}

uint64_t Simulation::counter(const char* name, const char* reason) {
  MetricLabels labels = {{"engine", "0"}, {"model_name", "sparrow"}};
  if (reason != nullptr) labels.emplace_back("finished_reason", reason);
  return metrics_.counter(name, "", std::move(labels)).value();
}

void Simulation::check_counters() {
  SimulationCounts& counts = result_.counts;
  counts.num_preemptions = counter("vllm:num_preemptions_total");
  if (counter("vllm:generation_tokens_total") != num_counted_tokens_) {
    violate("the counter of generated tokens is wrong");
  }
  if (counter("vllm:prompt_tokens_total") != num_counted_prompt_tokens_) {
    violate("the counter of prompt tokens is wrong");
  }
  for (size_t reason = 0; reason < num_finished_.size(); ++reason) {
    if (counter("vllm:request_success_total", kMetricsReasons[reason]) != num_finished_[reason]) {
      violate(fmt::format("the counter of ends by {} is wrong", kMetricsReasons[reason]));
    }
  }
  uint64_t num_releases = 0, num_resumptions = 0, num_started = 0;
  for (const Job& job : jobs_) {
    for (int choice = 0; job.is_accepted && choice < job.request.num_choices; ++choice) {
      const ChoiceRecord& seen = record(job, choice);
      num_releases += static_cast<uint64_t>(seen.num_releases);
      num_resumptions += static_cast<uint64_t>(std::max(0, seen.num_starts - 1));
      num_started += seen.num_starts > 0 ? 1 : 0;
    }
  }
  if (num_releases != num_resumptions + num_started) violate("starts and releases do not match");
  // A preempted choice that ended while it waited was not started again.
  if (counts.num_preemptions < num_resumptions || counts.num_preemptions > num_releases) {
    violate("the counter of preemptions is wrong");
  }
  if (workload_.engine.speculation.max_tokens == 0) return;
  counts.num_drafted = counter("vllm:spec_decode_num_draft_tokens_total");
  counts.num_accepted = counter("vllm:spec_decode_num_accepted_tokens_total");
  if (counts.num_accepted > counts.num_drafted) violate("more guesses accepted than made");
}

}  // namespace sparrow
