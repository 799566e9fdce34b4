#pragma once
// Inbox: commands on their way to the engine thread, and which requests are alive. Requests are
// bounded by the capacity, cancels by the live requests: one counts per request, others are
// dropped. Thread-safe.

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
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

  // kUnavailable after close(), kResourceExhausted when full, kInvalidArgument when a request of
  // this id is alive; the submission is then untouched.
  Status try_submit(Submission&& submission);
  // Ignored for requests that are not alive.
  void cancel(uint64_t request_id);
  // For everything submitted before this call; what comes after it runs.
  void abort_all(FinishReason reason);
  // Submissions are refused from now on; what was accepted before is still drained.
  void close();

  // An abort_all since the last drain.
  struct Abort {
    FinishReason reason = FinishReason::kNone;
    size_t num_before = 0;  // of the drained submissions; those behind came after the call
  };
  // Moves everything out: submissions in order of arrival, then cancels (a cancel always follows
  // its submission).
  std::optional<Abort> drain(std::vector<Submission>& submissions, std::vector<uint64_t>& cancels);
  // One choice of each of these requests has ended; an id stands once per choice.
  void retire(std::span<const uint64_t> request_ids);

  // Until something is there or the time comes.
  void wait_until(TimePoint deadline);
  void wake();
  bool empty() const;

 private:
  struct Live {
    int num_choices = 0;  // not yet ended
    bool is_cancelled = false;
  };
  bool empty_locked() const { return submissions_.empty() && cancels_.empty() && !abort_; }

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable filled_;
  // Guarded by mutex_.
  std::vector<Submission> submissions_;
  std::vector<uint64_t> cancels_;
  std::unordered_map<uint64_t, Live> live_;
  std::optional<Abort> abort_;
  bool is_closed_ = false;
  bool woken_ = false;
};

}  // namespace sparrow
