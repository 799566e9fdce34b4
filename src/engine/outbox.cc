#include "engine/outbox.h"

#include "engine/failure.h"

namespace sparrow {

std::vector<StreamEvent>& Outbox::events_of(EventSink* wanted) {
  for (auto& [sink, events] : events_) {
    if (sink == wanted) return events;
  }
  events_.emplace_back(wanted, std::vector<StreamEvent>{});
  return events_.back().second;
}

bool Outbox::publish() {
  bool all_sent = true;
  for (auto& [sink, events] : events_) {
    if (events.empty()) continue;
    try {
      sink->publish(std::move(events));
      events.clear();
    } catch (...) {  // the events are untouched and go with those of the next step
      reason_of_exception("the delivery of events");
      all_sent = false;
    }
  }
  if (all_sent) events_.clear();  // a sink may die once its requests have ended
  return all_sent;
}

}  // namespace sparrow
