#pragma once
// Outbox: the events of one step on their way to their sinks, one delivery a sink. What a sink
// could not take for want of memory goes with the events of the next step. Engine thread only.

#include <utility>
#include <vector>

#include "engine/stream_event.h"

namespace sparrow {

class Outbox {
 public:
  std::vector<StreamEvent>& events_of(EventSink* sink);
  // False: some are left.
  bool publish();
  bool empty() const { return events_.empty(); }

 private:
  std::vector<std::pair<EventSink*, std::vector<StreamEvent>>> events_;
};

}  // namespace sparrow
