#include "simulation.h"

#include <fmt/format.h>

#include <algorithm>

namespace sparrow {
namespace {

constexpr int kMaxSteps = 100'000;
// Preemptions of one choice are logarithmic in its blocks (scheduler.h); at most 160 blocks here.
constexpr uint64_t kMaxPreemptionsPerChoice = 9;

bool is_natural(FinishReason reason) {
  return reason == FinishReason::kStopToken || reason == FinishReason::kStopString ||
         reason == FinishReason::kMaxTokens || reason == FinishReason::kContextFull;
}

FakeExecutorOptions with_faults(const Workload& workload, uint64_t seed) {
  FakeExecutorOptions options = workload.executor;
  const Faults& faults = workload.faults;
  const auto hits = [seed](uint64_t kind, uint64_t at, int per_mille) {
    return random_bits(seed, kind, at) % 1000 < static_cast<uint64_t>(per_mille);
  };
  options.fails = [=](uint64_t step) { return hits(2, step, faults.failed_step_per_mille); };
  options.not_finite = [=](uint64_t step, size_t span) {
    return hits(3, step * 1000 + span, faults.not_finite_per_mille);
  };
  options.extra_ms = [=](uint64_t step) {
    return hits(4, step, faults.slow_step_per_mille) ? 10'000.0 : 0.0;
  };
  return options;
}

}  // namespace

Simulation::Simulation(uint64_t seed)
    : seed_(seed),
      workload_(make_workload(seed)),
      random_(seed ^ 0x5EED),
      executor_(with_faults(workload_, seed)),
      engine_(executor_, *tokenizer_, workload_.engine, &metrics_) {
  const ExecutorLimits limits = executor_.limits();
  max_context_ = std::min(limits.max_context_tokens, limits.num_blocks * limits.block_tokens);
}

void Simulation::violate(const std::string& what) {
  if (result_.violation.empty()) {
    result_.violation = fmt::format("seed {}, step {}: {}", seed_, result_.num_steps, what);
  }
}

bool Simulation::all_choices_ended(const Request& request) {
  for (int choice = 0; choice < request.num_choices; ++choice) {
    if (sink_.at(request.id, choice).finishes.empty()) return false;
  }
  return true;
}

void Simulation::submit_due() {
  while (next_arrival_ < workload_.arrivals.size() &&
         workload_.arrivals[next_arrival_].at <= now_) {
    submit(workload_.arrivals[next_arrival_++]);
  }
}

void Simulation::submit(const Arrival& arrival) {
  const Request& request = arrival.request;
  const bool is_failed = engine_.snapshot().breaker != BreakerState::kClosed;
  const StatusCode code = engine_.submit(request, &sink_).code();
  bool is_right = code == StatusCode::kResourceExhausted;
  if (is_failed || is_closed_) {
    is_right = is_right || code == StatusCode::kUnavailable || arrival.is_refused;
  } else if (arrival.is_refused) {
    is_right = code == StatusCode::kInvalidArgument;
  } else {
    is_right = is_right || code == StatusCode::kOk;
  }
  if (!is_right) violate(fmt::format("submit of {} gave code {}", request.id, int(code)));
  if (code != StatusCode::kOk) return;
  live_[request.id] = {.request = &request, .order = live_.size()};
  result_.num_choices += request.num_choices;
  if (random_.chance(workload_.faults.duplicate_id_per_mille)) {
    ++result_.num_faults;
    if (engine_.submit(request, &sink_).ok()) violate("a live id was accepted twice");
  }
}

// What clients and operators do between two steps.
void Simulation::inject() {
  const Faults& faults = workload_.faults;
  if (!live_.empty() && random_.chance(faults.cancel_per_mille)) {
    const auto victim = std::next(
        live_.begin(), random_.between(0, static_cast<int>(live_.size()) - 1));  // ended ones too
    for (int i = random_.between(1, 3); i > 0; --i) engine_.cancel(victim->first);
    engine_.cancel(1'000'000 + random_.next() % 100);  // nobody's
    victim->second.must_end_now = true;
    ++result_.num_faults;
  }
  if (random_.chance(faults.drain_per_mille)) {
    engine_.stop_accepting();
    is_closed_ = true;
    ++result_.num_faults;
  }
  if (random_.chance(faults.abort_per_mille)) {
    engine_.abort_all(FinishReason::kCancelled);
    for (auto& [id, live] : live_) live.must_end_now = true;
    ++result_.num_faults;
  }
}

void Simulation::move_clock(const StepReport& report) {
  if (random_.chance(workload_.faults.clock_jump_per_mille)) {
    ++result_.num_faults;
    now_ += random_.pick<Duration>({std::chrono::hours(1), std::chrono::seconds(-1), Duration{}});
    return;
  }
  now_ += report.executor_time;
  const bool is_idle = engine_.idle() && next_arrival_ < workload_.arrivals.size();
  if (is_idle) now_ = std::max(now_, workload_.arrivals[next_arrival_].at);
}

void Simulation::check_step(const StepReport& report) {
  engine_.check_integrity();
  const ExecutorLimits limits = executor_.limits();
  const int most_rows = std::min(limits.max_batch_tokens, workload_.engine.max_num_batched_tokens);
  if (report.num_tokens_in > most_rows) violate("more rows than allowed");
  if (report.num_tokens_drafted > 0 &&
      report.num_tokens_in > workload_.engine.speculation.max_rows) {
    violate("guesses in a large step");
  }
  if (report.num_spans > std::min(limits.num_slots, workload_.engine.max_num_seqs)) {
    violate("more sequences than allowed");
  }
  if (!report.worked && !engine_.idle()) violate("an idle step although a request waits");
  for (auto& [id, live] : live_) {
    if (!live.has_ended) check_request(id, live);
  }
  const EngineSnapshot snapshot = engine_.snapshot();
  if (engine_.idle() && snapshot.num_blocks_live != 0) violate("blocks leaked");
  if (snapshot.num_running != executor_.num_held_slots()) violate("slots leaked");
  result_.trace_hash = mix64(result_.trace_hash ^ static_cast<uint64_t>(report.num_tokens_in));
  result_.trace_hash = mix64(result_.trace_hash ^ static_cast<uint64_t>(report.num_tokens_out));
  result_.trace_hash = mix64(result_.trace_hash ^ static_cast<uint64_t>(snapshot.num_blocks_live));
}

void Simulation::check_request(uint64_t id, Live& live) {
  live.has_ended = all_choices_ended(*live.request);
  if (live.has_ended) return;
  if (live.must_end_now) violate(fmt::format("request {} outlived its cancel", id));
  const auto& deadline = live.request->total_deadline;
  if (deadline && *deadline <= now_) violate(fmt::format("request {} outlived its deadline", id));
  if (engine_.idle()) violate(fmt::format("request {} was lost", id));
}

void Simulation::check_choice(const Request& request, int choice) {
  const Transcript& got = sink_.at(request.id, choice);
  const auto fail = [&](const char* what) {
    violate(fmt::format("request {} choice {}: {}", request.id, choice, what));
  };
  if (got.finishes.size() != 1) return fail("not exactly one end");
  SamplingParams params = request.sampling;
  params.choice = choice;
  const int max_tokens =
      std::min(request.stop.max_tokens, max_context_ - static_cast<int>(request.prompt.size()));
  const auto count = static_cast<int>(got.tokens.size());
  if (count > max_tokens) return fail("too many tokens");
  const std::vector<TokenId> expected = executor_.expected_tokens(
      request.prompt, count, params, request.stop.token_ids, request.stop.min_tokens);
  if (got.tokens != expected) return fail("other tokens than alone");
  const Outcome outcome = expected_outcome(*tokenizer_, request, expected, max_tokens);
  if (got.answer != outcome.answer) return fail("another answer than alone");
  if (got.reasoning != outcome.reasoning) return fail("other thoughts than alone");
  if (is_natural(got.finishes[0]) ? got.finishes[0] != outcome.finish
                                  : outcome.finish != FinishReason::kNone) {
    return fail("another reason to end than alone");
  }
  if (got.finishes[0] == FinishReason::kNoMemory) return fail("accepted, then too large");
  if (got.usage.num_output_tokens != count ||
      got.usage.num_prompt_tokens != static_cast<int>(request.prompt.size()) ||
      got.usage.num_reasoning_tokens != outcome.num_reasoning_tokens) {
    return fail("wrong usage");
  }
  result_.num_finished_by_themselves += is_natural(got.finishes[0]) ? 1 : 0;
  result_.num_tokens += got.tokens.size();
}

// Within a key and priority, nobody overtakes: compared by when they were first planned.
void Simulation::check_order_of_service() {
  std::map<std::pair<std::string, int>, std::map<uint64_t, TimePoint>> lanes;
  for (const auto& [id, live] : live_) {
    const Request& request = *live.request;
    if (sink_.at(id).tokens.empty()) continue;
    lanes[{request.fairness_key, request.priority}][live.order] =
        request.arrival + sink_.at(id).usage.queue_time;
  }
  for (const auto& [lane, starts] : lanes) {
    const bool in_order =
        std::is_sorted(starts.begin(), starts.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
    if (!in_order) violate("a request was overtaken within its key");
  }
}

uint64_t Simulation::counter(const char* name) {
  return metrics_.counter(name, "", {{"engine", "0"}, {"model_name", "sparrow"}}).value();
}

void Simulation::check_end() {
  size_t num_choices = 0;
  for (const auto& [id, live] : live_) {
    num_choices += static_cast<size_t>(live.request->num_choices);
    for (int choice = 0; choice < live.request->num_choices; ++choice) {
      check_choice(*live.request, choice);
    }
  }
  for (const auto& [key, transcript] : sink_.transcripts) {
    if (!live_.contains(key.first)) violate("events for a request that was never accepted");
  }
  if (sink_.transcripts.size() != num_choices) violate("more or fewer choices than asked for");
  const bool has_faithful_clock = workload_.faults.clock_jump_per_mille == 0;
  if (has_faithful_clock) check_order_of_service();
  if (engine_.snapshot().num_blocks_live != 0) violate("blocks leaked at the end");
  if (executor_.num_held_slots() != 0) violate("slots leaked at the end");
  if (counter("vllm:generation_tokens_total") != result_.num_tokens) {
    violate("the token counter is wrong");
  }
  if (workload_.engine.speculation.max_tokens > 0) {
    result_.num_drafted = counter("vllm:spec_decode_num_draft_tokens_total");
    result_.num_accepted = counter("vllm:spec_decode_num_accepted_tokens_total");
    if (result_.num_accepted > result_.num_drafted) violate("more accepted than drafted");
  }
  result_.num_preemptions = counter("vllm:num_preemptions_total");
  if (result_.num_preemptions > kMaxPreemptionsPerChoice * num_choices) violate("thrashing");
}

SimulationResult Simulation::run() {
  while (next_arrival_ < workload_.arrivals.size() || !engine_.idle()) {
    if (++result_.num_steps > kMaxSteps) violate("no end");
    submit_due();
    inject();
    const StepReport report = engine_.step(now_);
    check_step(report);
    if (!result_.violation.empty()) return result_;
    move_clock(report);
  }
  engine_.step(now_);
  check_end();
  return result_;
}

}  // namespace sparrow
