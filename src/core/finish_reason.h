#pragma once
// Why a sequence ended, exactly. The wire knows fewer words: api/ maps these to OpenAI's.

namespace sparrow {

enum class FinishReason {
  kNone,         // still running
  kStopToken,    // an end-of-sequence or stop_token_ids token was sampled
  kStopString,   // one of the stop strings appeared
  kMaxTokens,    // max_tokens reached
  kContextFull,  // the context window is full
  kCancelled,    // the client left or the server stops
  kDeadline,     // a deadline of the request passed
  kNoMemory,     // the sequence can never get the KV blocks it needs
  kNotFinite,    // the model produced NaN for this row
  kError,        // the executor failed
  kUnavailable,  // it never ran: the executor keeps failing
};

// The answer came to its own end or to its limit.
inline bool is_ordinary_end(FinishReason reason) {
  return reason == FinishReason::kStopToken || reason == FinishReason::kStopString ||
         reason == FinishReason::kMaxTokens || reason == FinishReason::kContextFull;
}

const char* finish_reason_name(FinishReason reason);

}  // namespace sparrow
