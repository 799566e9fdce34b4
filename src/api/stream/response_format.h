#pragma once
// ResponseFormat: turns the events of one request into the bytes of one dialect. A seam: chat and
// completions here, whole and streamed; other dialects add their own. One object per request, used
// on the loop thread of the request.

#include <string>

#include "api/errors.h"
#include "api/stream/reply.h"

namespace sparrow::api {

class ResponseFormat {
 public:
  virtual ~ResponseFormat() = default;

  virtual const Reply& reply() const = 0;
  // Streams: what stands before the first event. Others: nothing.
  virtual void begin(std::string& out) = 0;
  // `choice` counts over all prompts of the request. `totals` already include the event.
  virtual void event(int choice, const StreamEvent& event, const UsageTotals& totals,
                     std::string& out) = 0;
  // All choices have finished. Streams: the usage chunk and the end mark; else the whole body.
  virtual void end(const UsageTotals& totals, std::string& out) = 0;
};

// The end of a stream that failed after its first byte; the same in chat and completions.
inline void append_stream_error(std::string& out, const ApiError& error) {
  out += "data: ";
  append_error_body(out, error);
  out += "\n\ndata: [DONE]\n\n";
}

}  // namespace sparrow::api
