#pragma once
// Bench: speed of an executor alone, by the protocol of llama.cpp's llama-batched-bench: for each
// batch size B, the prompts of B sequences are computed (prefill), then every sequence grows by one
// token per step (decode, contexts from prompt_tokens on, greedy sampling included). Each row is
// the median of `repeat` runs, with its share of what the machine could do at best.
//
// Random token ids: a dense model's speed does not depend on them. One thread calls; the executor
// brings its own.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/executor.h"

namespace sparrow {

struct BenchOptions {
  int prompt_tokens = 512;
  int gen_tokens = 64;
  std::vector<int> batches = {1, 4, 8, 12};
  int repeat = 3;
};

// What one step must move and compute, from the model's shapes.
struct BenchCost {
  double weight_bytes_per_step = 0;      // every weight but the embedding table, once
  double kv_bytes_per_token = 0;         // K and V of one cached token, all layers
  double ops_per_token = 0;              // 2 x weights of the linear layers, without the head
  double ops_per_logit_row = 0;          // 2 x weights of the head
  double attention_ops_per_context = 0;  // per token and cached token
};

// Measured on this machine, just before.
struct MachineLimits {
  double read_bytes_per_s = 0;  // best read pass of all threads
  double ops_per_s = 0;         // peak of the multiply-add the format uses, all threads
};

struct BenchRow {
  std::string test;  // "prefill" or "decode"
  int batch = 0;
  double tokens_per_s = 0;  // median, summed over the batch
  double tokens_per_s_min = 0;
  double tokens_per_s_max = 0;
  double bytes_per_s = 0;  // at the median
  double ops_per_s = 0;
  double share_of_limit = 0;  // limit's time / median time; the limit is the slower of both
  std::string limit;          // "bandwidth" or "compute"
};

// KV blocks and slots the run needs: the executor must have them.
int64_t bench_num_blocks(const BenchOptions& options, int block_tokens);
int bench_num_slots(const BenchOptions& options);

// `progress` is called before each timed run with a line to show.
Result<std::vector<BenchRow>> run_bench(Executor& executor, const BenchCost& cost,
                                        const MachineLimits& limits, const BenchOptions& options,
                                        const std::function<void(const std::string&)>& progress);

}  // namespace sparrow
