#pragma once
// AnswerCache: finished answers kept for requests whose text is determined (greedy, or with the
// client's own seed), per tenant; and answers to the operator's list of common questions, for
// everybody who leaves the sampling open. Between preparation and the engine: consult() finds the
// answer, or arranges that it is kept when it has ended ordinarily.
//
// The header x-sparrow-cache of a request: "off" neither looks nor keeps; "warm" puts the question
// on the list (admin key; without keys, this machine). The reply's x-sparrow-answer-cache says hit,
// store (computed, kept if it ends ordinarily) or miss.
//
// Thread-safe; never called on the engine thread. Looking takes microseconds on a prep thread;
// storing has a thread and a bounded queue of its own, so that a slow disk delays nobody.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/answers/answer_codec.h"
#include "api/auth.h"
#include "api/errors.h"
#include "api/served_model.h"
#include "api/stream/generation.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/task_pool.h"
#include "http/http_types.h"
#include "store/answer_store.h"

namespace sparrow::api {

// What a request asks of the cache.
enum class CacheWish { kUse, kOff, kWarm };

class AnswerCache {
 public:
  AnswerCache(const AnswerStoreOptions& options, const Clock& clock, MetricsRegistry& metrics);
  // Waits for what is being stored.
  ~AnswerCache();

  // Before belong_to(): the keys hold the client's own cache_salt, not the tenant's secret one,
  // which may change from start to start.
  MaybeError consult(const http::Request& request, const ApiKeys& keys, const Caller& caller,
                     const ServedModel& model, PreparedGeneration& prepared);
  // For an overloaded server: the list's answer also for a client that chose its sampling, where
  // it chose the list's values and no seed. To be given to `replay` of the prepared request.
  std::optional<std::vector<StreamEvent>> find_similar(const PreparedGeneration& prepared);

 private:
  struct Found {
    std::string value;
    bool listed = false;
  };
  std::optional<std::vector<StreamEvent>> look(const std::string& key, bool listed,
                                               const AnswerPlan& plan);
  void record(const Caller& caller, CacheWish wish, PreparedGeneration& prepared);
  void keep(AnswerEntry entry);
  void store(const AnswerEntry& entry);
  // Wall time from the steady clock: a clock that is set changes nothing while we run.
  int64_t now_s() const;

  const Clock& clock_;
  const TimePoint start_;
  const int64_t start_s_;
  const size_t max_entry_bytes_;
  Counter& hits_;
  Counter& misses_;
  Counter& evictions_;
  Counter& dropped_;
  Gauge& bytes_;
  AnswerStore store_;
  std::unique_ptr<TaskPool> writer_;  // last: its thread uses everything above
};

}  // namespace sparrow::api
