#include "sim_door.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "admission/shorten_request.h"

namespace sparrow {
namespace {

constexpr uint64_t kDoorStream = 6;
constexpr int kMostVisits = 4;

double remaining_ms(TimePoint deadline, TimePoint now) { return to_ms(deadline - now); }

}  // namespace

SimDoor::SimDoor(uint64_t seed, const DoorOptions& options, const FaultPlan& faults,
                 FaultCounts& counts, MetricsRegistry& metrics, Violate violate)
    : options_(options),
      faults_(faults),
      counts_(counts),
      registry_(metrics),
      violate_(std::move(violate)),
      random_(seed, kDoorStream),
      control_(options.admission),
      metrics_(metrics) {}

bool SimDoor::strikes(FaultKind kind, uint64_t at) {
  if (!faults_.hits(kind, at)) return false;
  ++counts_[static_cast<size_t>(kind)];
  return true;
}

void SimDoor::arrive(const Arrival& arrival, uint64_t request_id, uint64_t step) {
  Visitor visitor;
  visitor.arrival = arrival;
  visitor.request_id = request_id;
  if (prepared_.size() >= options_.prep_capacity) {
    ++num_refused_;  // 503 from the HTTP side; it never came to the door
    return;
  }
  prepared_.push_back(std::move(visitor));
  // A client that hangs up while its request is prepared leaves nothing behind.
  if (strikes(FaultKind::kHangUpPrepared, step)) prepared_.pop_back();
}

std::optional<TimePoint> SimDoor::next_return() const {
  if (!prepared_.empty() || returning_.empty()) return std::nullopt;
  return std::min_element(
             returning_.begin(), returning_.end(),
             [](const Visitor& a, const Visitor& b) { return a.returns_at < b.returns_at; })
      ->returns_at;
}

void SimDoor::work(const LoadSnapshot& fresh, TimePoint now, uint64_t step, const Submit& submit) {
  LoadSnapshot load = strikes(FaultKind::kStaleSnapshot, step) ? last_load_ : fresh;
  last_load_ = fresh;
  if (strikes(FaultKind::kForeignMemory, step)) load.foreign_memory_share = 0.5;
  for (size_t i = 0; i < returning_.size();) {
    if (returning_[i].returns_at > now) {
      ++i;
      continue;
    }
    if (prepared_.size() < options_.prep_capacity) prepared_.push_back(std::move(returning_[i]));
    returning_.erase(returning_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  if (strikes(FaultKind::kPrepStall, step)) return;
  for (int i = 0; i < options_.num_prepared_per_step && !prepared_.empty(); ++i) {
    Visitor visitor = std::move(prepared_.front());
    prepared_.pop_front();
    decide(std::move(visitor), load, now, step, submit);
  }
}

AdmissionRequest SimDoor::question_of(const Visitor& visitor, TimePoint now) const {
  const Request& request = visitor.arrival.request;
  AdmissionRequest question;
  question.key = request.tenant;
  question.num_prompt_tokens = static_cast<int64_t>(request.prompt.size());
  question.num_sequences = request.num_choices;
  question.shape = visitor.arrival.shape;
  question.shape.max_tokens = request.stop.max_tokens;
  question.shape.temperature = request.sampling.temperature;
  if (request.first_token_deadline) {
    question.first_token_within_ms = remaining_ms(*request.first_token_deadline, now);
  }
  if (request.total_deadline) {
    question.total_within_ms = remaining_ms(*request.total_deadline, now);
  }
  question.is_retry = visitor.num_visits > 0;
  return question;
}

void SimDoor::decide(Visitor visitor, const LoadSnapshot& load, TimePoint now, uint64_t step,
                     const Submit& submit) {
  const AdmissionRequest question = question_of(visitor, now);
  const std::string key(question.key);
  KeyBook& book = books_[key];
  book.latest = std::max(book.latest, now);
  const Verdict verdict = control_.decide(load, question, now);
  metrics_.on_verdict(verdict);
  check_verdict(load, question, verdict, now);
  if (verdict.decision == Decision::kReject) {
    ++num_rejected_[static_cast<size_t>(verdict.reason)];
    ++num_refused_;
    send_away(std::move(visitor), verdict, now, step);
    return;
  }
  const uint64_t serial = next_serial_++;
  if (verdict.holds_key) book.held.emplace(serial, Ticket{key, verdict, book.latest});
  book.requests.push_back(book.latest);
  if (verdict.decision == Decision::kMessage) {
    ++num_messages_;
    return settle(serial, key, 0);
  }
  last_let_in_step_ = load.num_steps;
  ++num_let_in_;
  if (verdict.shortening.any()) ++num_shortened_;
  shorten(verdict.shortening, visitor.arrival.request);
  const std::optional<size_t> tag = submit(visitor.arrival, visitor.request_id);
  if (!tag) return settle(serial, key, 0);
  let_in_.emplace(*tag, std::pair(key, serial));
}

// Half of them come back, most when they were told to.
void SimDoor::send_away(Visitor visitor, const Verdict& verdict, TimePoint now, uint64_t step) {
  if (++visitor.num_visits >= kMostVisits || verdict.retry_cannot_help) return;
  if (!random_.chance(500)) return;
  const bool is_impatient = strikes(FaultKind::kEarlyReturn, step);
  visitor.returns_at = now + from_ms(is_impatient ? 1 : verdict.retry_after_ms);
  Request& request = visitor.arrival.request;
  // It asks anew: what it waits for is as long as before.
  const auto moved = visitor.returns_at - request.arrival;
  for (auto* deadline :
       {&request.queue_deadline, &request.first_token_deadline, &request.total_deadline}) {
    if (*deadline) **deadline += moved;
  }
  request.arrival = visitor.returns_at;
  visitor.arrival.at = visitor.returns_at;
  returning_.push_back(std::move(visitor));
}

void SimDoor::settle(uint64_t serial, const std::string& key, int64_t num_tokens_used) {
  KeyBook& book = books_[key];
  const auto held = book.held.find(serial);
  if (held == book.held.end()) return;
  control_.settle(key, held->second.verdict, num_tokens_used);
  book.held.erase(held);
}

void SimDoor::on_end(size_t tag, int64_t num_tokens_used) {
  const auto found = let_in_.find(tag);
  if (found == let_in_.end()) return;
  settle(found->second.second, found->second.first, num_tokens_used);
  let_in_.erase(found);
}

}  // namespace sparrow
