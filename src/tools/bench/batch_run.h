#pragma once
// BatchRun: sequences driven through an executor as the engine would, without an engine. All have
// the same text of random ids; sequence i owns slot i and KV blocks of its own, so that what a step
// reads is what as many users would make it read.
//
// A call sets the sequences to a position first: what is in front of it must be computed. Text
// behind it is computed anew and overwrites what lay there. Greedy sampling. One thread.

#include <cstdint>
#include <functional>
#include <vector>

#include "base/status.h"
#include "model/executor.h"

namespace sparrow {

class BatchRun {
 public:
  // Called between steps of long work with the tokens done; false: stop.
  using KeepGoing = std::function<bool(int num_done)>;

  // Of `num_tokens` positions each, at most what the executor has.
  BatchRun(Executor& executor, int num_sequences, int num_tokens);
  ~BatchRun();
  BatchRun(const BatchRun&) = delete;
  BatchRun& operator=(const BatchRun&) = delete;

  // Computes positions [from, to) of the first `batch` sequences, one sequence after the other, in
  // steps of at most max_batch_tokens. kCancelled when keep_going said so.
  Status prefill(int batch, int from, int to, const KeepGoing& keep_going);
  // Every sequence grows by num_steps tokens from `position` on.
  Status decode(int batch, int position, int num_steps);

  // Guesses that are as good as never right, to time steps with them: the first sequence only.
  void begin_guessing(int position);
  Status guess(int num_guesses);

 private:
  void rewind(int batch, int position);
  void add_span(int sequence, int first_position, int count, int num_logit_rows);
  Status run_step();

  Executor& executor_;
  const ExecutorLimits limits_;
  const int num_sequences_;
  const int blocks_per_sequence_;
  SamplingParams params_;
  std::vector<TokenId> text_;
  std::vector<bool> is_held_;  // by slot
  BatchPlan plan_;
  int guess_position_ = 0;
  int num_sampled_ = 0;  // by the last step
  uint64_t step_ = 0;
};

}  // namespace sparrow
