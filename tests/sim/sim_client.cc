#include "sim_client.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/utf8.h"

namespace sparrow {
namespace {

// Around the text of an event on the wire.
constexpr size_t kEventOverheadBytes = 8;

}  // namespace

SimClient::SimClient(int num_loops, Violate violate, OnEvent on_event)
    : violate_(std::move(violate)), on_event_(std::move(on_event)) {
  for (int i = 0; i < num_loops; ++i) loops_.push_back(std::make_unique<Loop>(*this));
}

EventSink* SimClient::open(uint64_t request_id, SimStream* stream) {
  stream->num_open = static_cast<int>(stream->choices.size());
  streams_[request_id] = stream;
  return loop_of(request_id);
}

void SimClient::read(SimStream& stream) const {
  const size_t share = stream.reads_bytes_per_step < 0
                           ? stream.buffered_bytes
                           : static_cast<size_t>(stream.reads_bytes_per_step);
  stream.buffered_bytes -= std::min(share, stream.buffered_bytes);
}

void SimClient::take(const StreamEvent& event, const Loop* loop) {
  const auto found = streams_.find(event.request_id);
  if (found == streams_.end()) {
    return violate_(fmt::format("an event for request {}, which is not running", event.request_id));
  }
  if (loop != loop_of(event.request_id)) return violate_("an event in a foreign sink");
  SimStream& stream = *found->second;
  if (event.choice < 0 || static_cast<size_t>(event.choice) >= stream.choices.size()) {
    return violate_(fmt::format("an event for choice {} of {}", event.choice, event.request_id));
  }
  ChoiceTranscript& choice = stream.choices[static_cast<size_t>(event.choice)];
  if (choice.has_ended()) {
    return violate_(fmt::format("an event behind the end of request {}", event.request_id));
  }
  if (!is_valid_utf8(event.text)) {
    violate_(fmt::format("text of request {} is cut inside a character", event.request_id));
  }
  (event.channel == TextChannel::kAnswer ? choice.answer : choice.reasoning) += event.text;
  for (const EventToken& token : event.tokens) choice.tokens.push_back(token.id);
  stream.buffered_bytes += event.text.size() + kEventOverheadBytes;
  stream.is_too_slow |= stream.buffered_bytes > kMaxBufferedBytes;
  if (event.finish != FinishReason::kNone) {
    choice.finish = event.finish;
    choice.usage = event.usage;
    if (--stream.num_open == 0) streams_.erase(found);
  }
  on_event_(stream, event);
}

}  // namespace sparrow
