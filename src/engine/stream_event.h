#pragma once
// StreamEvent: what one step produced for one choice of one request, as complete UTF-8 text.
// Made by the engine thread, moved to the request's EventSink, consumed by the front.

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "core/finish_reason.h"
#include "core/ids.h"
#include "core/step_result.h"

namespace sparrow {

enum class TextChannel { kAnswer, kReasoning };

struct EventToken {
  TokenId id = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top;  // best first; empty unless asked for
};

// Filled in the finishing event of each choice.
struct ChoiceUsage {
  int num_prompt_tokens = 0;
  int num_cached_tokens = 0;  // prompt tokens found in the prefix cache
  int num_output_tokens = 0;
  int num_reasoning_tokens = 0;  // part of the output tokens
  Duration queue_time{};         // arrival to first plan
  Duration prefill_time{};       // first plan to first token
  Duration decode_time{};        // first to last token
};

// Text of one channel only: a step that ends the thinking makes two events.
struct StreamEvent {
  uint64_t request_id = 0;
  int choice = 0;
  TextChannel channel = TextChannel::kAnswer;
  std::string text;                // may be empty; never half a character or half a stop string
  std::vector<EventToken> tokens;  // ids behind the text, for logprobs and return_token_ids
  FinishReason finish = FinishReason::kNone;
  ChoiceUsage usage;  // valid when finish != kNone
};

// Receives all events of a step at once: one wake-up per step and sink. Called on the engine
// thread; must not block. Where it throws (out of memory), the events are untouched and come again
// with those of the next step. A sink lives until the publish() with the last finishing event of
// its requests has returned; after that it is never called again.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void publish(std::vector<StreamEvent>&& events) = 0;
};

}  // namespace sparrow
