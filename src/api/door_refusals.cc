#include "api/door_refusals.h"

#include <new>

#include "base/log.h"

namespace sparrow::api {

std::optional<uint64_t> WarningPace::on_event(TimePoint now) {
  ++num_untold_;
  if (told_at_ && now < *told_at_ + kPause) return std::nullopt;
  told_at_ = now;
  return std::exchange(num_untold_, 0);
}

void DoorRefusals::on_refused_request(int status, std::string_view message) {
  if (status == 500) return;  // a handler had it: its own responder counts
  // The only thing that the HTTP server refuses for want of room is a body.
  if (status == 503) note_refusal_(RejectReason::kBodyMemory);
  note(status, message);
}

void DoorRefusals::on_refused_connection() {
  note_refusal_(RejectReason::kConnections);
  note(503, "all connections are taken (--max-connections)");
}

void DoorRefusals::note(int status, std::string_view message) {
  try {
    http_metrics_.observe("none", "", status, 0);
    std::optional<uint64_t> count;
    {
      std::lock_guard lock(mutex_);
      count = pace_.on_event(clock_.now());
    }
    if (count) {
      log_warning("http: {} refused before any handler since the last such line; now: {} {}",
                  *count, status, message);
    }
  } catch (const std::bad_alloc&) {  // a line and a number less
  }
}

}  // namespace sparrow::api
