#pragma once
// Sequence: one choice of one request on its way: tokens, KV blocks, progress. Created by the
// engine, held by the scheduler, edited only between steps on the engine thread.
//
// Invariant: num_computed <= num_tokens. K and V are there for positions [0, num_computed),
// computed by this sequence or another with the same prefix; the rest still has to go through the
// executor.

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "core/finish_reason.h"
#include "core/request.h"
#include "kv/prefix_hash.h"
#include "scheduler/speculation.h"

namespace sparrow {

enum class SequenceState { kWaiting, kRunning, kFinished };

// A time that has not come; clocks may start at zero.
inline constexpr TimePoint kNever = TimePoint::min();

// What PrefixSharing remembers of a sequence.
struct PrefixState {
  Hash128 root;                 // of its salt
  std::vector<Hash128> hashes;  // of its full blocks, as far as they were named
  int num_published = 0;        // leading blocks that others can find
  int owner = 0;                // tenant that pays for its cached blocks
};

struct Sequence {
  // Constant after creation.
  std::shared_ptr<const Request> request;  // shared by the choices of one request
  SamplingParams params;                   // the request's, with this choice
  int num_prompt_tokens = 0;
  int max_tokens = 0;         // of output, within the context
  int32_t stream_index = -1;  // the engine's text state

  // Set by Scheduler::add(): place in the order of service.
  uint64_t fair_tag = 0;
  uint64_t serial = 0;

  std::vector<TokenId> tokens;  // prompt and output
  int num_cached = 0;           // prompt tokens found computed when it first ran
  int num_computed = 0;
  PrefixState prefix;
  std::vector<BlockId> blocks;
  SlotId slot = kNoSlot;
  // Planned and not committed. The executor may work on the blocks and read the sampler's
  // parameters, so that who has ended keeps all of it until there are none.
  int num_steps_on_way = 0;
  bool slot_is_stale = false;  // an edit changed the tokens behind the slot's sampler state
  SequenceState state = SequenceState::kWaiting;
  FinishReason finish = FinishReason::kNone;
  int num_preemptions = 0;  // for want of memory: a place given up is none
  // Guesses do not reach beyond this many output tokens: the engine may put others there.
  int draft_end = std::numeric_limits<int>::max();
  std::unique_ptr<Drafting> drafting;  // made when the first guesses are asked for

  TimePoint first_planned = kNever;
  TimePoint first_token = kNever;
  TimePoint last_token = kNever;

  int num_tokens() const { return static_cast<int>(tokens.size()); }
  int num_output_tokens() const { return num_tokens() - num_prompt_tokens; }
  int num_uncomputed() const { return num_tokens() - num_computed; }
  // One token short of being computed: every step gives it the next one.
  bool is_generating() const { return num_uncomputed() == 1; }
  // Most positions it will ever hold.
  int max_positions() const { return num_prompt_tokens + max_tokens; }
  bool before(const Sequence& other) const {
    if (request->priority != other.request->priority) {
      return request->priority < other.request->priority;
    }
    return fair_tag != other.fair_tag ? fair_tag < other.fair_tag : serial < other.serial;
  }
};

}  // namespace sparrow
