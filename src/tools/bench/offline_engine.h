#pragma once
// OfflineEngine: the server's engine without a server: the same scheduler, step loop and text of
// answers, stepped by the caller's thread, so that a workload measures what users would get and
// nothing of HTTP. Requests have random token ids, sample with a temperature, ignore the end of
// sequence and share no prefixes (prefix cache off), as offline benchmarks do.
//
//   OfflineEngine engine(executor, tokenizer, options, clock);
//   RETURN_IF_ERROR(engine.submit({.prompt_tokens = 256, .output_tokens = 512}));
//   while (!engine.idle()) RETURN_IF_ERROR(engine.step());
//   engine.take_answers();
//
// One thread; executor, tokenizer and clock outlive it.

#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "engine/engine.h"
#include "tools/bench/workload.h"

namespace sparrow {

struct OfflineEngineOptions {
  int max_num_seqs = 256;            // sequences in one step
  int max_num_batched_tokens = 512;  // rows of one step
  double max_step_ms = 200;          // predicted duration of a step
  double temperature = 0.6;
  bool keeps_gaps = false;  // times between tokens are wanted
};

// One request that has ended, all its output tokens sampled. Seconds since its arrival.
struct OfflineAnswer {
  int output_tokens = 0;
  double first_token_s = 0;  // until it was sampled
  double answer_s = 0;       // until the last text was out
};

class OfflineEngine final : private EventSink {
 public:
  OfflineEngine(Executor& executor, const Tokenizer& tokenizer, const OfflineEngineOptions& options,
                const Clock& clock);
  ~OfflineEngine() override;

  // Arrives now. Errors: longer than the executor's context or KV cache can ever hold.
  Status submit(const WorkloadItem& item);
  // Errors: an answer ended otherwise than by its length, or nothing moves.
  Status step();
  bool idle() const { return running_.empty(); }
  int num_unfinished() const { return static_cast<int>(running_.size()); }
  // At most so many run at once.
  int max_running() const { return max_running_; }
  int64_t num_output_tokens() const { return num_output_tokens_; }  // delivered so far

  // Since the last call.
  std::vector<OfflineAnswer> take_answers() { return std::exchange(answers_, {}); }
  // Seconds between two deliveries of tokens of one request, all requests together. A token whose
  // bytes are no whole character yet is delivered with the next.
  std::vector<double> take_gaps() { return std::exchange(gaps_s_, {}); }

 private:
  struct Running {
    TimePoint arrival{};
    TimePoint last_delivery{};
    bool has_delivered = false;
    WorkloadItem item;
  };

  void publish(std::vector<StreamEvent>&& events) override;
  void take_event(const StreamEvent& event, TimePoint now);
  void take_end(const StreamEvent& event, const Running& running, TimePoint now);

  const Clock& clock_;
  const OfflineEngineOptions options_;
  const int vocab_size_;
  const int max_running_;
  std::unordered_map<uint64_t, Running> running_;  // by request id
  std::vector<OfflineAnswer> answers_;
  std::vector<double> gaps_s_;
  int64_t num_output_tokens_ = 0;
  uint64_t last_id_ = 0;
  Status failure_;
  Engine engine_;  // the last: its events come here until it has gone
};

}  // namespace sparrow
