#include "core/finish_reason.h"

namespace sparrow {

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kNone:
      return "none";
    case FinishReason::kStopToken:
      return "stop_token";
    case FinishReason::kStopString:
      return "stop_string";
    case FinishReason::kMaxTokens:
      return "max_tokens";
    case FinishReason::kContextFull:
      return "context_full";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kNoMemory:
      return "no_memory";
    case FinishReason::kNotFinite:
      return "not_finite";
    case FinishReason::kError:
      return "error";
    case FinishReason::kUnavailable:
      return "unavailable";
  }
  return "unknown";
}

}  // namespace sparrow
