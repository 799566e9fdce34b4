#pragma once
// Engine: the loop's body. Drains commands, lets the scheduler plan, drives the executor, turns
// tokens into text, applies stop rules, publishes events. It knows tokens and bytes, not HTTP.
//
// submit(), cancel(), snapshot() and beat() are thread-safe; everything else belongs to the engine
// thread. step(now) never sleeps, never reads a clock and never throws: the server's thread
// (EngineThread), the tests and the simulation call the same function. What an executor, tokenizer
// or masker throws ends the sequences it was for, with kNoMemory for bad_alloc, else kError.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "admission/load_snapshot.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/status.h"
#include "core/request.h"
#include "engine/heartbeat.h"
#include "engine/stream_event.h"
#include "model/executor.h"
#include "scheduler/prefix_sharing.h"
#include "scheduler/speculation.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {

struct EngineOptions {
  int max_num_seqs = 64;               // sequences in one step; at most the executor's slots
  int max_num_batched_tokens = 2048;   // rows of one step; at most the executor's limit
  double max_step_ms = 250;            // predicted duration a step may take
  double seat_patience_ms = 2000;      // until a key gets its share of the places; 0: never
  int max_num_queued_reqs = 1024;      // waiting requests; beyond it submit() refuses
  size_t inbox_capacity = 4096;        // commands not yet drained
  std::string model_name = "sparrow";  // label of the metrics
  int index = 0;                       // of several engines: the other label
  BreakerOptions breaker;              // when the executor counts as failing
  bool legacy_metric_names = true;     // vLLM's old ones beside the new
  SpeculationOptions speculation;      // guesses that shorten repeating text; off by default
  PrefixOptions prefix;                // KV blocks shared by sequences with the same beginning
};

struct StepReport {
  bool worked = false;                   // something was planned or ended
  std::optional<TimePoint> next_wakeup;  // earliest deadline of a waiting request
  int num_spans = 0;
  int num_tokens_in = 0;       // rows computed, those of guesses included
  int num_tokens_drafted = 0;  // guesses among them
  int num_tokens_out = 0;      // tokens sampled
  int64_t context_tokens = 0;  // sum of the spans' context lengths
  Duration executor_time{};    // measured, or simulated by a fake executor
};

// Published once per step; each value is consistent by itself.
using EngineSnapshot = LoadSnapshot;

class Engine {
 public:
  // The executor is loaded. `metrics` may be null.
  Engine(Executor& executor, const Tokenizer& tokenizer, const EngineOptions& options,
         MetricsRegistry* metrics);
  ~Engine();

  // Takes the request, or says why not: kResourceExhausted (queue full), kUnavailable (stopping, or
  // the breaker is open because the executor fails), kInvalidArgument (longer than the machine can
  // ever hold, with the number that would fit; or a field that breaks the rules of core/request.h,
  // by name). Request ids are unique among live requests.
  Status submit(Request request, EventSink* sink);
  // The choices end with kCancelled at the start of the next step. Unknown ids are ignored.
  void cancel(uint64_t request_id);
  EngineSnapshot snapshot() const;
  // What the engine is doing now, without any lock: for health checks.
  Beat beat() const;

  StepReport step(TimePoint now);
  // Blocks until a command arrives or the time comes.
  void wait_for_work(TimePoint until);
  // Ends a wait_for_work() now; thread-safe.
  void wake();
  // submit() refuses from now on; what was accepted still runs.
  void stop_accepting();
  // Everything accepted before this call ends with `reason` at the next step; later requests run.
  void abort_all(FinishReason reason);
  bool idle() const;  // engine thread: nothing waiting, running or in the inbox
  // Engine thread: CHECKs that blocks, slots and progress add up; for tests and simulation.
  void check_integrity() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sparrow
