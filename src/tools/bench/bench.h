#pragma once
// Bench: speed of an executor alone. Three kinds of rows, each the median of `repeat` runs after
// one to warm up, with its share of what the machine could do at best:
//
// - Without depths, the protocol of llama.cpp's llama-batched-bench: for each batch size B, the
//   prompts of B sequences are computed (prefill), then every sequence grows by one token per step
//   (decode, contexts from prompt_tokens on, greedy sampling included).
// - With depths, that of llama-bench -d: so many tokens lie in the KV cache of every sequence, then
//   prompt_tokens more are computed (prefill), or gen_tokens one by one (decode). The caches are
//   filled once, from one depth to the next, and serve all batch sizes and repeats.
// - With guesses: what a step with so many guessed tokens of one sequence costs, against one
//   without (verify). The sizes take turns step by step, so a change of the machine's speed meets
//   all of them.
//
// Random token ids: a dense model's speed does not depend on them. One thread calls; the executor
// brings its own.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/executor.h"
#include "tools/bench/step_work.h"

namespace sparrow {

struct BenchOptions {
  int prompt_tokens = 512;
  int gen_tokens = 64;
  std::vector<int> batches = {1, 4, 8, 12};
  int repeat = 3;
  std::vector<int> depths = {};   // tokens; empty: the first protocol
  std::vector<int> guesses = {};  // of a step; empty: no verify rows
};

struct BenchRow {
  std::string test;  // "prefill", "decode" or "verify"
  int batch = 0;
  int depth = 0;    // tokens in the cache of each sequence when the work began
  int guesses = 0;  // verify
  // Median, summed over the batch. Of a verify row: tokens that were computed, so what comes out
  // when all guesses are right.
  double tokens_per_s = 0;
  double tokens_per_s_min = 0;
  double tokens_per_s_max = 0;
  double tokens_per_s_each = 0;  // decode: of one sequence, at the median
  double step_s = 0;             // of a step, at the median; prefill: of all its steps
  int prompt_tokens = 0;         // prefill: of each prompt
  // Prefill of one sequence: until its first token was sampled. 0: several sequences.
  double first_token_s = 0;
  double first_token_s_min = 0;
  double first_token_s_max = 0;
  // Verify: the step against one without guesses. A draft pays when more guesses are right than
  // this is above 1.
  double step_ratio = 0;
  double step_ratio_min = 0;
  double step_ratio_max = 0;
  double bytes_per_s = 0;  // at the median
  double ops_per_s = 0;
  double share_of_limit = 0;  // limit's time / median time; the limit is the slower of both
  std::string limit;          // "bandwidth" or "compute"
  // Decode rows, where read passes ran between the steps: what those read (bytes per second, median
  // of the runs), and the time the run's bytes would take at that over the run's time. 0: none ran.
  double read_bytes_per_s_beside = 0;
  double share_of_read_beside = 0;
};

struct BenchReport {
  std::vector<BenchRow> rows;
  bool stopped = false;  // by `progress`: the rows are those that had at least one timed run
};

// Called before each timed run and between the steps of prompts, with a line to show; false: stop.
using BenchProgress = std::function<bool(const std::string& text)>;

// KV blocks, slots and positions the run needs: the executor must have them.
int64_t bench_num_blocks(const BenchOptions& options, int block_tokens);
int bench_num_slots(const BenchOptions& options);
int bench_num_positions(const BenchOptions& options);

Result<BenchReport> run_bench(Executor& executor, const BenchCost& cost,
                              const MachineLimits& limits, const BenchOptions& options,
                              const BenchProgress& progress);

}  // namespace sparrow
