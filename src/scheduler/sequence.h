#pragma once
// Sequence: one choice of one request on its way: tokens, KV blocks, progress. Created by the
// engine, held by the scheduler, edited only between steps on the engine thread.
//
// Invariant: num_cached <= num_computed <= num_tokens. KV is written for positions
// [0, num_computed); the rest still has to go through the executor.

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "core/finish_reason.h"
#include "core/request.h"

namespace sparrow {

enum class SequenceState { kWaiting, kRunning, kFinished };

struct Sequence {
  // Constant after creation.
  std::shared_ptr<const Request> request;  // shared by the choices of one request
  SamplingParams params;                   // the request's, with this choice
  int num_prompt_tokens = 0;
  int max_tokens = 0;         // of output, within the context
  int32_t stream_index = -1;  // the engine's text state

  std::vector<TokenId> tokens;  // prompt and output
  int num_cached = 0;
  int num_computed = 0;
  std::vector<BlockId> blocks;
  SlotId slot = kNoSlot;
  SequenceState state = SequenceState::kWaiting;
  FinishReason finish = FinishReason::kNone;
  int num_preemptions = 0;

  // Zero until they happened.
  TimePoint first_planned{};
  TimePoint first_token{};
  TimePoint last_token{};

  int num_tokens() const { return static_cast<int>(tokens.size()); }
  int num_output_tokens() const { return num_tokens() - num_prompt_tokens; }
  int num_uncomputed() const { return num_tokens() - num_computed; }
  bool before(const Sequence& other) const {
    if (request->priority != other.request->priority) {
      return request->priority < other.request->priority;
    }
    if (request->arrival != other.request->arrival)
      return request->arrival < other.request->arrival;
    if (request->id != other.request->id) return request->id < other.request->id;
    return params.choice < other.params.choice;
  }
};

}  // namespace sparrow
