#pragma once
// ApiContext: what endpoints need, and the ways a request can run: at once on its IO thread, or
// prepared on the prep pool. Owned by ApiServer; thread-safe.

#include <boost/json/object.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "api/answers/answer_cache.h"
#include "api/api_options.h"
#include "api/api_state.h"
#include "api/auth.h"
#include "api/engine_port.h"
#include "api/errors.h"
#include "api/gate.h"
#include "api/served_model.h"
#include "api/status_metrics.h"
#include "api/stream/stream_hub.h"
#include "base/metrics.h"
#include "base/task_pool.h"
#include "http/router.h"

namespace sparrow::api {

// A model and the engine that runs it.
struct Serving {
  ServedModel model;
  std::unique_ptr<EnginePort> engine;
};

class ApiContext {
 public:
  ApiContext(ApiOptions options, MetricsRegistry& metrics);

  const ApiOptions& options() const { return options_; }
  const Clock& clock() const { return *options_.clock; }
  // Prometheus text; what is read only for a scrape is read now.
  std::string render_metrics();
  ApiState& state() { return state_; }
  ApiKeys& keys() { return keys_; }

  // Null: off.
  AnswerCache* answer_cache() const { return answers_.get(); }

  void set_serving(std::unique_ptr<Serving> serving);
  // Null while loading.
  Serving* serving() const { return serving_.load(std::memory_order_acquire); }
  // What the engine is doing, without any lock; nothing while loading.
  Beat beat() const { return serving() == nullptr ? Beat{} : serving()->engine->beat(); }
  // How long the engine has not come back, if --watchdog-timeout-s is over.
  std::optional<Duration> stuck() const {
    return stuck_for(beat(), options_.watchdog_timeout, clock().now());
  }

  // Fills `prepared` on a prep thread; then the engine takes the requests.
  using Prepare = std::function<MaybeError(const http::Request&, const ServedModel&,
                                           PreparedGeneration& prepared)>;
  void run_generation(const http::Call& call, Prepare prepare);
  // A reply that takes work (encoding), made on a prep thread.
  using Answer =
      std::function<MaybeError(const http::Request&, const ServedModel&, std::string& body)>;
  void run_answer(const http::Call& call, Answer answer);

  // `count` consecutive ids that no other request has.
  uint64_t take_request_ids(size_t count) { return next_id_.fetch_add(count); }
  std::string make_reply_id(std::string_view prefix);
  // Generation requests taken since the start.
  int64_t num_accepted() const { return num_accepted_.load(std::memory_order_relaxed); }

  // What SIGTERM does: no new generation requests, then the process ends.
  void drain();

  // Ladder and gauges as of now; every decision does the same.
  void update_gate();
  // Something before any handler refused. Thread-safe.
  void note_refusal(RejectReason reason) { gate_.note_refusal(reason); }
  // Posts a heartbeat round to every loop that has streams.
  void tick_all();
  // No prepared work starts any more; what was accepted is finished.
  void stop() { prep_.reset(); }

 private:
  StreamHub& hub_of(http::IoLoop& loop);
  std::vector<bool> engines_up(const EnginePort& port) const;
  MaybeError prepare_and_admit(const http::Request& request, const Caller& caller,
                               const Serving& serving, const Prepare& prepare,
                               PreparedGeneration& prepared);
  MaybeError check_accepting();
  void count_accepted();

  ApiOptions options_;
  MetricsRegistry& metrics_;
  StatusMetrics status_metrics_;
  std::mutex scrape_mutex_;  // held for a scrape: one at a time
  ApiKeys keys_;
  ApiState state_;
  std::unique_ptr<Serving> owned_;
  std::atomic<Serving*> serving_{nullptr};
  std::atomic<uint64_t> next_id_{1};
  std::atomic<int64_t> num_accepted_{0};
  const uint64_t id_seed_;
  std::unique_ptr<AnswerCache> answers_;  // outlives the generations in hubs_
  Gate gate_;
  std::mutex mutex_;
  std::map<http::IoLoop*, std::unique_ptr<StreamHub>> hubs_;  // guarded by mutex_
  std::unique_ptr<TaskPool> prep_;  // last: its threads use everything above
};

// Parses the body into an object. 400 for bad JSON, 415 for what a browser form would send.
MaybeError read_json_body(const http::Request& request, const ApiLimits& limits,
                          boost::json::object& body);

}  // namespace sparrow::api
