#include "simulation.h"

#include <fmt/format.h>

#include <algorithm>

#include "admission/queue_room.h"
#include "engine/test_support.h"

namespace sparrow {
namespace {

constexpr uint64_t kMaxSteps = 200'000;
constexpr uint64_t kRunStream = 5;
constexpr int kMaxRetries = 100;
constexpr int kBurstRequests = 20;
// Ids nobody uses.
constexpr uint64_t kUnknownId = uint64_t{1} << 40;

const std::shared_ptr<const Tokenizer>& shared_tokenizer() {
  static const std::shared_ptr<const Tokenizer> tokenizer = test_tokenizer();
  return tokenizer;
}

}  // namespace

void SimulationCounts::add(const SimulationCounts& other) {
  num_runs += other.num_runs;
  num_steps += other.num_steps;
  num_requests += other.num_requests;
  num_choices += other.num_choices;
  num_ordinary_ends += other.num_ordinary_ends;
  num_tokens += other.num_tokens;
  num_prompt_tokens += other.num_prompt_tokens;
  num_cached_tokens += other.num_cached_tokens;
  num_preemptions += other.num_preemptions;
  num_drafted += other.num_drafted;
  num_accepted += other.num_accepted;
  num_steps_ahead += other.num_steps_ahead;
  num_steps_worthless += other.num_steps_worthless;
  num_refused_at_door += other.num_refused_at_door;
  num_shortened += other.num_shortened;
  num_messages += other.num_messages;
  simulated_ms += other.simulated_ms;
  for (size_t kind = 0; kind < kNumFaultKinds; ++kind) faults[kind] += other.faults[kind];
}

Simulation::Simulation(const SimulationOptions& options)
    : options_(options),
      faults_(options.seed, options.disabled),
      workload_(make_workload(options.seed, faults_, options.max_requests,
                              options.trace != nullptr ? *options.trace : std::vector<TraceRow>())),
      max_context_(longest_context(workload_.executor.limits)),
      random_(options.seed, kRunStream),
      tokenizer_(shared_tokenizer()),
      executor_(workload_.executor, faults_, result_.counts.faults),
      client_(
          random_.between(1, 3), [this](const std::string& what) { violate(what); },
          [this](SimStream& stream, const StreamEvent& event) { on_event(stream, event); }),
      door_(options.seed, workload_.door, faults_, result_.counts.faults, metrics_,
            [this](const std::string& what) { violate(what); }),
      engine_(std::make_unique<Engine>(executor_, *tokenizer_, workload_.engine, &metrics_)) {}

void Simulation::violate(const std::string& what) {
  if (result_.violation.empty()) result_.violation = what;
}

std::string Simulation::report(const std::string& what) const {
  std::string replay = fmt::format("sparrow_sim --seed {}", options_.seed);
  if (options_.max_requests != std::numeric_limits<int>::max()) {
    replay += fmt::format(" --requests {}", options_.max_requests);
  }
  for (size_t kind = 0; kind < kNumFaultKinds; ++kind) {
    if (!options_.disabled[kind]) continue;
    replay += fmt::format(" --without {}", fault_name(static_cast<FaultKind>(kind)));
  }
  if (options_.trace != nullptr) replay += " --trace (the same)";
  return fmt::format("VIOLATION seed {}, step {}: {}\n{}replay: {}\n", options_.seed, step_, what,
                     log_.text(), replay);
}

bool Simulation::strikes(FaultKind kind) {
  if (!faults_.hits(kind, step_)) return false;
  ++result_.counts.faults[static_cast<size_t>(kind)];
  return true;
}

bool Simulation::is_live(uint64_t request_id) const {
  return std::any_of(live_.begin(), live_.end(), [&](size_t tag) {
    return jobs_[tag].request.id == request_id && !jobs_[tag].has_ended();
  });
}

void Simulation::submit_due() {
  while (next_arrival_ < workload_.arrivals.size() &&
         workload_.arrivals[next_arrival_].at <= now_) {
    enter(workload_.arrivals[next_arrival_++]);
  }
}

// What is invalid is told so while it is prepared, and never comes to the door.
void Simulation::enter(const Arrival& arrival) {
  if (workload_.door.is_there && !arrival.is_refused) {
    door_.arrive(arrival, arrival.request.id, step_);
  } else {
    submit(arrival, arrival.request.id);
  }
}

void Simulation::work_at_door() {
  if (!workload_.door.is_there) return;
  door_.work(engine_->snapshot(), now_, step_, [this](const Arrival& arrival, uint64_t request_id) {
    return submit(arrival, request_id);
  });
}

// In the order in which the engine looks.
StatusCode Simulation::expected_code(const Arrival& arrival, const Request& request) {
  const EngineOptions& options = workload_.engine;
  if (arrival.is_refused) return StatusCode::kInvalidArgument;
  const ExecutorLimits& limits = workload_.executor.limits;
  const QueueRoom room{options.max_num_queued_reqs,
                       std::min({limits.num_slots, options.max_num_seqs, limits.max_batch_tokens,
                                 options.max_num_batched_tokens})};
  const int num_new = arrival.request.num_choices;
  if (num_new > room.most_at_once()) return StatusCode::kInvalidArgument;
  if (!breaker_.try_pass(request.arrival)) return StatusCode::kUnavailable;
  const auto code_behind_breaker = [&] {
    const int num_started = num_open_choices_ - num_not_started_;
    if (!room.has_place_for(num_new, num_not_started_, num_started)) {
      return StatusCode::kResourceExhausted;
    }
    if (is_closed_) return StatusCode::kUnavailable;
    if (num_in_inbox_ >= options.inbox_capacity) return StatusCode::kResourceExhausted;
    return is_live(request.id) ? StatusCode::kInvalidArgument : StatusCode::kOk;
  };
  const StatusCode code = code_behind_breaker();
  if (code != StatusCode::kOk) breaker_.give_back();
  return code;
}

// Every submission is a job of its own, told from others by the tag in its seed.
std::optional<size_t> Simulation::submit(const Arrival& arrival, uint64_t request_id) {
  const size_t tag = jobs_.size();
  Job& job = jobs_.emplace_back();
  job.request = arrival.request;
  job.request.id = request_id;
  job.request.arrival = std::min(job.request.arrival, now_);
  const uint64_t low_bits = job.request.sampling.seed & ((uint64_t{1} << kTagShift) - 1);
  job.request.sampling.seed = (static_cast<uint64_t>(tag) << kTagShift) | low_bits;
  job.mask = arrival.mask;
  job.stream.tag = tag;
  job.stream.reads_bytes_per_step = arrival.reads_bytes_per_step;
  const StatusCode expected = expected_code(arrival, job.request);
  const bool is_duplicate = is_live(request_id);
  if (expected == StatusCode::kOk) {
    const int num_choices = job.request.num_choices;
    job.stream.choices.resize(static_cast<size_t>(num_choices));
    executor_.expect(tag, num_choices, job.request.cache_salt);
  }
  Request request = job.request;
  if (job.mask.seed != 0) request.masker = std::make_shared<SimMasker>(job.mask);
  EventSink* const sink =
      is_duplicate ? client_.sink(request_id) : client_.open(request_id, &job.stream);
  const StatusCode code = engine_->submit(std::move(request), sink).code();
  log_.add(step_, "submit (request, code)", request_id, static_cast<int64_t>(code));
  if (code != expected) {
    violate(fmt::format("submit of request {} gave code {}, expected {}", request_id,
                        static_cast<int>(code), static_cast<int>(expected)));
  }
  if (code == StatusCode::kOk) {
    note_accepted(job, arrival);
  } else if (!is_duplicate) {
    client_.forget(request_id);
  }
  if (arrival.is_refused) {
    ++result_.counts.faults[static_cast<size_t>(FaultKind::kInvalidRequest)];
  }
  return code == StatusCode::kOk ? std::optional(tag) : std::nullopt;
}

void Simulation::note_accepted(Job& job, const Arrival& arrival) {
  const Request& request = job.request;
  job.is_accepted = true;
  live_.push_back(job.stream.tag);
  num_open_choices_ += request.num_choices;
  num_not_started_ += request.num_choices;
  ++num_in_inbox_;
  const int room = max_context_ - static_cast<int>(request.prompt.size());
  const int max_tokens = std::min(request.stop.max_tokens, room);
  order_.accept(job.stream.tag, request.num_choices, request.priority, request.fairness_key,
                ServiceOrder::cost_of(static_cast<int>(request.prompt.size()), max_tokens));
  SimulationCounts& counts = result_.counts;
  ++counts.num_requests;
  counts.num_choices += static_cast<uint64_t>(request.num_choices);
  const auto count_if = [&](FaultKind kind, bool is_so) {
    counts.faults[static_cast<size_t>(kind)] += is_so ? 1 : 0;
  };
  count_if(FaultKind::kDeadline,
           request.queue_deadline || request.first_token_deadline || request.total_deadline);
  count_if(FaultKind::kMaskDeadEnd, job.mask.dead_end_at >= 0);
  count_if(FaultKind::kMaskRefusal, job.mask.refuses_at >= 0);
  if (strikes(FaultKind::kDuplicateId)) submit(arrival, request.id);
}

Simulation::Stage Simulation::stage_of(const Job& job) const {
  Stage stage = Stage::kQueued;
  for (int choice = 0; choice < job.request.num_choices; ++choice) {
    const ChoiceRecord& seen = record(job, choice);
    if (seen.num_sampled > 0) return Stage::kDecode;
    if (seen.is_held) stage = Stage::kPrefill;
  }
  return stage;
}

// Any job that has ended, or a live one at this stage; null when there is none.
Simulation::Job* Simulation::pick(bool ended, Stage stage) {
  const size_t start = random_.next() % 1024;
  for (size_t i = 0; ended && i < jobs_.size(); ++i) {
    Job& job = jobs_[(start + i) % jobs_.size()];
    if (job.has_ended()) return &job;
  }
  if (ended) return nullptr;
  for (size_t i = 0; i < live_.size(); ++i) {
    Job& job = jobs_[live_[(start + i) % live_.size()]];
    if (!job.has_ended() && stage_of(job) == stage) return &job;
  }
  return nullptr;
}

void Simulation::cancel(uint64_t request_id) {
  log_.add(step_, "cancel (request)", request_id);
  engine_->cancel(request_id);
  for (const size_t tag : live_) {
    Job& job = jobs_[tag];
    if (job.request.id == request_id && !job.has_ended()) job.must_end_now = true;
  }
}

void Simulation::inject_clients() {
  const auto hang_up = [&](FaultKind kind, bool ended, Stage stage, int num_times) {
    if (!faults_.hits(kind, step_)) return;
    Job* const job = pick(ended, stage);
    if (job == nullptr) return;
    ++result_.counts.faults[static_cast<size_t>(kind)];
    for (int i = 0; i < num_times; ++i) cancel(job->request.id);
  };
  hang_up(FaultKind::kHangUpQueued, false, Stage::kQueued, 1);
  hang_up(FaultKind::kHangUpPrefill, false, Stage::kPrefill, 1);
  hang_up(FaultKind::kHangUpDecode, false, Stage::kDecode, 1);
  hang_up(FaultKind::kHangUpEnded, true, Stage::kQueued, 1);
  hang_up(FaultKind::kDoubleCancel, false, Stage::kDecode, 2 + static_cast<int>(step_ % 2));
  if (strikes(FaultKind::kUnknownCancel)) engine_->cancel(kUnknownId + step_);
  if (faults_.hits(FaultKind::kRetry, step_) && num_retries_ < kMaxRetries) retry();
  for (const size_t tag : live_) {
    Job& job = jobs_[tag];
    client_.read(job.stream);
    if (!job.stream.is_too_slow || job.must_end_now || job.has_ended()) continue;
    ++result_.counts.faults[static_cast<size_t>(FaultKind::kSlowReader)];
    cancel(job.request.id);
  }
}

// A client that loses its patience sends the same again, under its old id (which is taken until the
// next step) and under a new one. One whose answer came may use its id again.
void Simulation::retry() {
  const bool of_ended = random_.chance(300);
  Job* const old = pick(of_ended, random_.pick({Stage::kQueued, Stage::kPrefill, Stage::kDecode}));
  if (old == nullptr || is_live(old->request.id) != !of_ended) return;
  ++num_retries_;
  ++result_.counts.faults[static_cast<size_t>(FaultKind::kRetry)];
  Arrival again;
  again.request = old->request;
  again.request.arrival = now_;
  again.mask = old->mask;
  if (!of_ended) cancel(old->request.id);
  submit(again, again.request.id);
  if (!of_ended) submit(again, kUnknownId / 2 + jobs_.size());
}

void Simulation::inject_operators() {
  if (strikes(FaultKind::kStopAccepting)) {
    engine_->stop_accepting();
    is_closed_ = true;
  }
  if (strikes(FaultKind::kAbortAll)) {
    log_.add(step_, "abort_all");
    engine_->abort_all(FinishReason::kCancelled);
    for (const size_t tag : live_) {
      if (!jobs_[tag].has_ended()) jobs_[tag].must_end_now = true;
    }
  }
  if (strikes(FaultKind::kBurst)) {
    for (int i = 0; i < kBurstRequests && next_arrival_ < workload_.arrivals.size(); ++i) {
      enter(workload_.arrivals[next_arrival_++]);
    }
  }
}

void Simulation::move_clock(const StepReport& report) {
  if (strikes(FaultKind::kClockHour)) now_ += std::chrono::hours(1);
  if (strikes(FaultKind::kClockBack)) now_ -= std::chrono::seconds(1);
  if (!strikes(FaultKind::kClockFrozen)) now_ += report.executor_time;
  if (!engine_->idle()) return;
  std::optional<TimePoint> next = door_.next_return();
  if (next_arrival_ < workload_.arrivals.size() && (next || !door_.has_work())) {
    next = std::min(next.value_or(TimePoint::max()), workload_.arrivals[next_arrival_].at);
  }
  if (next) now_ = std::max(now_, *next);
}

SimulationResult Simulation::run() {
  const auto has_work = [&] {
    return next_arrival_ < workload_.arrivals.size() || !engine_->idle() || door_.has_work();
  };
  while (has_work() && result_.violation.empty()) {
    if (++step_ > kMaxSteps) violate("no end");
    work_at_door();  // what came before this step: a request takes one to be prepared
    submit_due();
    inject_operators();
    inject_clients();
    if (strikes(FaultKind::kAbruptEnd)) {
      is_torn_down_ = true;
      break;
    }
    const StepReport report = engine_->step(now_);
    if (executor_.is_worthless()) {
      ++result_.counts.num_steps_worthless;  // its failure is that of the step before
    } else if (executor_.step_failed()) {
      breaker_.on_failure(now_ + report.executor_time);
    } else if (executor_.num_rows() > 0) {
      breaker_.on_success();
    }
    check_step(report);
    move_clock(report);
  }
  if (result_.violation.empty()) check_end();
  result_.counts.num_runs = 1;
  result_.counts.num_steps = step_;
  result_.counts.num_steps_ahead = executor_.num_steps_ahead();
  result_.counts.num_refused_at_door = door_.num_refused();
  result_.counts.num_shortened = door_.num_shortened();
  result_.counts.num_messages = door_.num_messages();
  const auto elapsed =
      std::chrono::duration_cast<std::chrono::milliseconds>(now_.time_since_epoch());
  result_.counts.simulated_ms = static_cast<uint64_t>(std::max<int64_t>(elapsed.count(), 0));
  result_.trace_hash = log_.hash();
  return result_;
}

}  // namespace sparrow
