#include "api/gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "admission/queue_room.h"
#include "admission/shorten_request.h"
#include "api/friendly_message.h"
#include "api/request/client_patience.h"

namespace sparrow::api {
namespace {

AdmissionRequest admission_request(const http::Request& http_request, const Caller& caller,
                                   const ClientPatience& patience,
                                   const PreparedGeneration& prepared) {
  AdmissionRequest out;
  out.key = caller.tenant;
  out.limits = caller.limits;
  out.num_sequences = 0;
  for (const Request& request : prepared.requests) {
    out.num_prompt_tokens += static_cast<int64_t>(request.prompt.size());
    out.num_sequences += request.num_choices;
  }
  out.shape = prepared.shape;
  out.first_token_within_ms = patience.first_token_ms;
  out.total_within_ms = patience.total_ms;
  const std::string_view retries = http_request.header("x-stainless-retry-count");
  out.is_retry = !retries.empty() && retries != "0";
  return out;
}

// As OpenAI writes it: 120ms, 1.5s, 6m0s.
std::string duration_text(double ms) {
  if (ms < 1000) return fmt::format("{:.0f}ms", std::ceil(ms));
  const auto seconds = static_cast<int64_t>(std::ceil(ms / 1000));
  if (seconds < 60) return fmt::format("{}s", seconds);
  return fmt::format("{}m{}s", seconds / 60, seconds % 60);
}

void add_limit_headers(const KeyStatus& status, http::Headers& headers) {
  if (status.limits.requests_per_minute > 0) {
    headers.emplace_back("x-ratelimit-limit-requests",
                         fmt::format("{}", status.limits.requests_per_minute));
    headers.emplace_back("x-ratelimit-remaining-requests",
                         fmt::format("{}", status.remaining_requests));
    headers.emplace_back("x-ratelimit-reset-requests", duration_text(status.reset_requests_ms));
  }
  if (status.limits.tokens_per_minute > 0) {
    headers.emplace_back("x-ratelimit-limit-tokens",
                         fmt::format("{}", status.limits.tokens_per_minute));
    headers.emplace_back("x-ratelimit-remaining-tokens",
                         fmt::format("{}", status.remaining_tokens));
    headers.emplace_back("x-ratelimit-reset-tokens", duration_text(status.reset_tokens_ms));
  }
}

std::string key_limit_text(RejectReason reason, const KeyLimits& limits) {
  if (reason == RejectReason::kRequestsPerMinute) {
    return fmt::format("This key may send {} requests a minute.", limits.requests_per_minute);
  }
  if (reason == RejectReason::kTokensPerMinute) {
    return fmt::format(
        "This key may use {} tokens a minute, prompts and answers together. Lower max_tokens or "
        "wait.",
        limits.tokens_per_minute);
  }
  return fmt::format("This key may have {} requests in work at once.", limits.max_concurrent);
}

std::string load_text(const Verdict& verdict) {
  switch (verdict.reason) {
    case RejectReason::kQueueFull:
      return "The queue is full (--max-num-queued-reqs).";
    case RejectReason::kPredictedWait:
      return fmt::format(
          "The first token would come in about {:.0f} s, later than this server lets anybody wait "
          "(--max-queue-wait-ms).",
          verdict.predicted_wait_ms / 1000);
    default:
      return "The server is too busy to take new requests.";
  }
}

ApiError refusal(const Verdict& verdict) {
  const auto retry_ms = static_cast<int64_t>(std::ceil(verdict.retry_after_ms));
  ApiError error;
  if (is_key_limit(verdict.reason)) {
    error = rate_limited(key_limit_text(verdict.reason, verdict.key_status.limits), retry_ms);
  } else if (verdict.reason == RejectReason::kDeadline) {
    error = deadline_unreachable(
        fmt::format("The first token would come in about {:.0f} ms, later than this request waits "
                    "(x-request-timeout-ms, x-stainless-read-timeout).",
                    verdict.predicted_wait_ms),
        retry_ms);
  } else if (verdict.reason == RejectReason::kBreakerOpen) {
    error = breaker_open(verdict.retry_after_ms);
  } else {
    error = overloaded(load_text(verdict), retry_ms);
  }
  error.retry_cannot_help = verdict.retry_cannot_help;
  return error;
}

// Not a matter of load: so no 503, which clients would repeat.
ApiError too_many_answers(const QueueRoom& room) {
  return invalid_request(
      "n", fmt::format("This request asks for more answers than the server ever takes: at most {} "
                       "at once, prompts times n (--max-num-queued-reqs, --max-num-seqs).",
                       room.most_at_once()));
}

std::string shortened_names(const Shortening& shortening) {
  std::string names;
  const auto add = [&](bool is_shortened, const char* name) {
    if (!is_shortened) return;
    if (!names.empty()) names += ", ";
    names += name;
  };
  add(shortening.shortens_thinking(), "thinking_budget");
  add(shortening.max_tokens.has_value(), "max_tokens");
  add(shortening.temperature.has_value(), "temperature");
  return names;
}

constexpr const char* kDegradedHeader = "x-sparrow-degraded";

}  // namespace

ApiError breaker_open(double retry_after_ms) {
  return computing_fails(static_cast<int64_t>(std::ceil(retry_after_ms)));
}

Gate::Gate(const ApiOptions& options, MetricsRegistry& metrics, FindAnswer find_answer)
    : find_answer_(std::move(find_answer)),
      degrade_message_(options.degrade_message),
      degrade_lower_ms_(options.admission.degradation.lower_ms),
      max_num_queued_reqs_(options.admission.max_num_queued_reqs),
      control_(options.admission),
      metrics_(metrics) {}

MaybeError Gate::pass(const http::Request& http_request, const Caller& caller,
                      const LoadSnapshot& load, TimePoint now, PreparedGeneration& prepared) {
  const ClientPatience patience = patience_of(http_request, prepared.format->reply().stream);
  // Made first, so that nothing can fail between the verdict and who gives back what it took.
  auto ticket = std::make_shared<GateTicket>(control_, metrics_, caller.tenant);
  Verdict verdict =
      control_.decide(load, admission_request(http_request, caller, patience, prepared), now);
  ticket->arm(verdict);
  // A raw completion is no conversation that a message could go on.
  if (verdict.decision == Decision::kMessage && !prepared.is_chat) {
    ticket.reset();
    verdict = {.decision = Decision::kReject,
               .reason = RejectReason::kDegraded,
               .retry_after_ms = std::max(degrade_lower_ms_, 1000.0),
               .level = verdict.level,
               .key_status = verdict.key_status};
  }
  metrics_.set_state(verdict.level, load.breaker);
  metrics_.on_verdict(verdict);
  add_limit_headers(verdict.key_status, prepared.headers);
  if (verdict.decision == Decision::kReject) {
    if (verdict.reason == RejectReason::kDegraded) {
      prepared.headers.emplace_back(kDegradedHeader, "refused");
    }
    if (verdict.reason == RejectReason::kQueueFull && verdict.retry_cannot_help) {
      return too_many_answers(QueueRoom{max_num_queued_reqs_, load.max_num_running});
    }
    return refusal(verdict);
  }
  prepared.ticket = std::move(ticket);
  if (verdict.decision == Decision::kMessage) {
    answer_without_engine(prepared);
    return std::nullopt;
  }
  for (Request& request : prepared.requests) {
    set_deadlines(patience, request);
    shorten(verdict.shortening, request);
  }
  if (verdict.shortening.any()) {
    prepared.headers.emplace_back(kDegradedHeader, shortened_names(verdict.shortening));
  }
  return std::nullopt;
}

MaybeError Gate::pass_without_work(const Caller& caller, TimePoint now, http::Headers& headers) {
  const Verdict verdict = control_.decide_without_work(caller.tenant, caller.limits, now);
  add_limit_headers(verdict.key_status, headers);
  if (verdict.decision != Decision::kReject) return std::nullopt;
  metrics_.on_verdict(verdict);
  return refusal(verdict);
}

void Gate::answer_without_engine(PreparedGeneration& prepared) {
  if (find_answer_) prepared.answers.replay = find_answer_(prepared);
  const bool is_cached = prepared.answers.replay.has_value();
  if (is_cached) {
    metrics_.on_cached_answer();
  } else {
    metrics_.on_message();
    prepared.ready_answer =
        degrade_message_.empty() ? friendly_message(prepared.question) : degrade_message_;
  }
  prepared.headers.emplace_back(kDegradedHeader, is_cached ? "cached_answer" : "message");
}

void Gate::update(const LoadSnapshot& load, TimePoint now) {
  metrics_.set_state(control_.update_level(load, now), load.breaker);
}

}  // namespace sparrow::api
