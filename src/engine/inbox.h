#pragma once
// Inbox: commands on their way to the engine thread. Requests are bounded; a cancel is never
// refused, because at most one per live request matters. Thread-safe.

#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "core/finish_reason.h"
#include "core/request.h"
#include "engine/stream_event.h"

namespace sparrow {

struct Submission {
  Request request;
  EventSink* sink = nullptr;
};

class Inbox {
 public:
  explicit Inbox(size_t capacity) : capacity_(capacity) {}

  // False when full; the submission is then untouched.
  bool try_submit(Submission&& submission);
  void cancel(uint64_t request_id);
  void abort_all(FinishReason reason);
  // Moves everything out, in order of arrival: submissions first, then cancels (a cancel always
  // follows its submission). Returns the reason of an abort_all since the last drain.
  std::optional<FinishReason> drain(std::vector<Submission>& submissions,
                                    std::vector<uint64_t>& cancels);
  // Until something is there or the time comes.
  void wait_until(TimePoint deadline);
  void wake();
  bool empty() const;

 private:
  bool empty_locked() const { return submissions_.empty() && cancels_.empty() && !abort_; }

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable filled_;
  // Guarded by mutex_.
  std::vector<Submission> submissions_;
  std::vector<uint64_t> cancels_;
  std::optional<FinishReason> abort_;
  bool woken_ = false;
};

}  // namespace sparrow
