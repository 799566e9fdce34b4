#pragma once
// Executor: the seam between what to compute (scheduler, engine) and how (CPU, CUDA, fake).
//
// A plan goes in, sampled tokens come out; logits never cross. Memory, layout and type of the KV
// cache belong to the executor; everybody else handles block ids below limits().num_blocks.
// All calls come from one engine thread:
//
//   Ticket ticket = executor.begin(plan);      // starts the forward pass (may be asynchronous)
//   executor.sample(ticket, masks);            // masks of constrained spans, ready only now
//   const StepResult& result = executor.wait(ticket);
//   executor.release(slot);                    // a sequence left; its sampler state is dropped
//
// The plan must stay unchanged until wait() returned. A failed step returns result.failed. begin(),
// sample() and wait() may throw, too: the step is then over as if it had failed, and the next
// begin() is welcome; a begin() that threw has started no slot.
//
// limits().max_steps_in_flight steps may be between begin() and wait(), so that a device has work
// while the host reads and writes what the step before brought:
//
//   begin(t); sample(t); begin(t + 1); sample(t + 1); wait(t); begin(t + 2); ...
//
// - sample(t) comes before begin(t + 1), and steps are waited for in the order of their begin().
// - Where step t samples the token that a span of t + 1 goes on with, the plan says kPendingToken.
// - Steps work in the order of their begin(): a block may be handed to a sequence of t + 1 although
//   t still reads it. The slots and sampling parameters of a step stay until wait() returned.
// - A step that failed makes the one behind it worthless, whatever that one answers; it is waited
//   for all the same, and nothing begins before both are over.
// - Where begin(t + 1) or sample(t + 1) throws, t may fail with it: a device does not say whose
//   work an error belongs to. It is waited for all the same.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "core/batch_plan.h"
#include "core/step_result.h"

namespace sparrow {

class TensorSource;

struct ExecutorLimits {
  int32_t block_tokens = 16;        // positions per KV block
  int32_t num_blocks = 0;           // usable block ids are [0, num_blocks)
  int32_t num_slots = 0;            // slots are [0, num_slots)
  int32_t max_batch_tokens = 0;     // rows of one plan
  int32_t max_context_tokens = 0;   // longest sequence, prompt and output
  int32_t vocab_size = 0;           // padded: rows of lm_head
  int32_t max_steps_in_flight = 1;  // 1 or 2
};

using Ticket = uint64_t;

// Row r holds one bit per id of the padded vocabulary: words [r * words_per_row, + words_per_row).
struct TokenMasks {
  std::span<const uint32_t> words;
  int32_t words_per_row = 0;
};

class Executor {
 public:
  virtual ~Executor() = default;

  virtual ExecutorLimits limits() const = 0;
  // Pulls one tensor at a time from the source and packs it. Called once, before the first begin().
  virtual Status load(TensorSource& source) = 0;
  virtual Ticket begin(const BatchPlan& plan) = 0;
  virtual void sample(Ticket ticket, const TokenMasks& masks) = 0;
  // Valid until the next begin() but one.
  virtual const StepResult& wait(Ticket ticket) = 0;
  virtual void release(SlotId slot) = 0;
};

// An executor that computes a model (the others play one in tests): what a session shows of it, and
// what tests and tools that compare models need. Same thread.
class ModelExecutor : public Executor {
 public:
  // Where it computes and with what: "CPU (avx512, 2 threads)", "NVIDIA H200 (sm_90)".
  virtual std::string device_text() const = 0;
  // What its results depend on beside model and options: "avx512", "sm_90".
  virtual std::string arithmetic() const = 0;
  // The exact memory plan, a line each, for the start-up log.
  virtual std::vector<std::string> memory_lines() const = 0;
  // What the plan was held against: the device's memory, or the share of it we may use.
  virtual int64_t memory_budget_bytes() const = 0;
  // Bytes of weights read for one decoded token (everything but the embedding table) and bytes of
  // KV cache read per token of context: for shares of the memory bandwidth.
  virtual int64_t weights_bytes_per_token() const = 0;
  virtual int64_t kv_bytes_per_token() const = 0;

  // Never for serving: sees the logits of every sampled row before the sampler does (token_index:
  // the row in plan.token_ids).
  using LogitsProbe = std::function<void(int32_t token_index, std::span<const float> logits)>;
  virtual void set_logits_probe(LogitsProbe probe) = 0;
};

}  // namespace sparrow
