#include "engine/inbox.h"

#include <fmt/format.h>

#include "base/check.h"

namespace sparrow {

Status Inbox::try_submit(Submission&& submission) {
  {
    std::lock_guard lock(mutex_);
    if (is_closed_) return unavailable("the server is shutting down");
    if (submissions_.size() >= capacity_) return resource_exhausted("the engine's inbox is full");
    // First all that can fail for want of memory.
    if (submissions_.size() == submissions_.capacity()) {
      submissions_.reserve(2 * submissions_.size() + 1);
    }
    const Request& request = submission.request;
    if (!live_.try_emplace(request.id, Live{.num_choices = request.num_choices}).second) {
      return invalid_argument(fmt::format("a request with the id {} is running", request.id));
    }
    submissions_.push_back(std::move(submission));
  }
  filled_.notify_one();
  return ok_status();
}

void Inbox::cancel(uint64_t request_id) {
  {
    std::lock_guard lock(mutex_);
    const auto live = live_.find(request_id);
    if (live == live_.end() || live->second.is_cancelled) return;
    cancels_.push_back(request_id);
    live->second.is_cancelled = true;
  }
  filled_.notify_one();
}

void Inbox::close() {
  std::lock_guard lock(mutex_);
  is_closed_ = true;
}

void Inbox::retire(std::span<const uint64_t> request_ids) {
  if (request_ids.empty()) return;
  std::lock_guard lock(mutex_);
  for (const uint64_t id : request_ids) {
    const auto live = live_.find(id);
    CHECK(live != live_.end());
    if (--live->second.num_choices == 0) live_.erase(live);
  }
}

void Inbox::abort_all(FinishReason reason) {
  {
    std::lock_guard lock(mutex_);
    abort_ = {reason, submissions_.size()};
  }
  filled_.notify_one();
}

std::optional<Inbox::Abort> Inbox::drain(std::vector<Submission>& submissions,
                                         std::vector<uint64_t>& cancels) {
  submissions.clear();
  cancels.clear();
  std::lock_guard lock(mutex_);
  submissions.swap(submissions_);
  cancels.swap(cancels_);
  return std::exchange(abort_, std::nullopt);
}

void Inbox::wait_until(TimePoint deadline) {
  std::unique_lock lock(mutex_);
  filled_.wait_until(lock, deadline, [&] { return woken_ || !empty_locked(); });
  woken_ = false;
}

void Inbox::wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  filled_.notify_one();
}

bool Inbox::empty() const {
  std::lock_guard lock(mutex_);
  return empty_locked();
}

}  // namespace sparrow
