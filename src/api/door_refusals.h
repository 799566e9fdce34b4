#pragma once
// DoorRefusals: what the HTTP server refuses before any handler sees it (malformed, too large, too
// slow, too many) leaves a trace: the HTTP metrics with handler "none", the reasons of
// sparrow_rejected_total, and a warning now and then. Called by IO threads; thread-safe.

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string_view>

#include "admission/admission_control.h"
#include "api/observed_responder.h"
#include "base/clock.h"

namespace sparrow::api {

// One warning in ten seconds, which tells of those that were not written, too: a flood of broken
// requests must not fill the disk. Not thread-safe.
class WarningPace {
 public:
  static constexpr Duration kPause = std::chrono::seconds(10);

  // How many there were since the last warning, when another is due; counts this one.
  std::optional<uint64_t> on_event(TimePoint now);

 private:
  uint64_t num_untold_ = 0;
  std::optional<TimePoint> told_at_;
};

class DoorRefusals {
 public:
  DoorRefusals(HttpMetrics& http_metrics, const Clock& clock,
               std::function<void(RejectReason)> note_refusal)
      : http_metrics_(http_metrics), clock_(clock), note_refusal_(std::move(note_refusal)) {}

  // A request that no handler will see gets this status.
  void on_refused_request(int status, std::string_view message);
  // A client was sent away before its first byte: --max-connections.
  void on_refused_connection();

 private:
  void note(int status, std::string_view message);

  HttpMetrics& http_metrics_;
  const Clock& clock_;
  const std::function<void(RejectReason)> note_refusal_;
  std::mutex mutex_;
  WarningPace pace_;  // guarded by mutex_
};

}  // namespace sparrow::api
