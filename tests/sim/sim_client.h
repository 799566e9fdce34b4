#pragma once
// SimClient: the front of a simulated server: one sink per IO loop, one stream per request, each
// with a bounded buffer and a reader of its own pace. A reader that falls behind by more than the
// bound loses its stream, as in the server: it asks for a cancel. Checks what holds for every event
// by itself. One thread.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/stream_event.h"

namespace sparrow {

// What a client saw of one choice.
struct ChoiceTranscript {
  std::string answer;
  std::string reasoning;
  std::vector<TokenId> tokens;
  FinishReason finish = FinishReason::kNone;
  ChoiceUsage usage;
  bool has_ended() const { return finish != FinishReason::kNone; }
};

struct SimStream {
  size_t tag = 0;
  std::vector<ChoiceTranscript> choices;
  int num_open = 0;               // choices that have not ended
  int reads_bytes_per_step = -1;  // -1: all at once
  size_t buffered_bytes = 0;
  bool is_too_slow = false;
};

class SimClient {
 public:
  using Violate = std::function<void(const std::string&)>;
  using OnEvent = std::function<void(SimStream&, const StreamEvent&)>;
  // on_event is called behind every event.
  SimClient(int num_loops, Violate violate, OnEvent on_event);

  // Unsent bytes of one stream before it is given up.
  static constexpr size_t kMaxBufferedBytes = 96;

  // The sink of the request's loop. A request id may come again when its stream has ended.
  EventSink* open(uint64_t request_id, SimStream* stream);
  EventSink* sink(uint64_t request_id) { return loop_of(request_id); }
  // Not accepted after all.
  void forget(uint64_t request_id) { streams_.erase(request_id); }
  // Every reader reads its share.
  void read(SimStream& stream) const;

 private:
  class Loop final : public EventSink {
   public:
    explicit Loop(SimClient& client) : client_(client) {}
    void publish(std::vector<StreamEvent>&& events) override {
      for (const StreamEvent& event : events) client_.take(event, this);
    }

   private:
    SimClient& client_;
  };

  Loop* loop_of(uint64_t request_id) { return loops_[request_id % loops_.size()].get(); }
  void take(const StreamEvent& event, const Loop* loop);

  const Violate violate_;
  const OnEvent on_event_;
  std::vector<std::unique_ptr<Loop>> loops_;
  std::unordered_map<uint64_t, SimStream*> streams_;  // by request id, the newest
};

}  // namespace sparrow
