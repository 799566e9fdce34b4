#pragma once
// ChoiceStream: the text side of one sequence. Tokens go in one by one; complete UTF-8 text of the
// right channel comes out as events, and the verdict whether the choice ends with this token.
//
// Thinking is told from answering by token id: the start and end tokens switch the channel and give
// no text; the text behind them is given as it is, newlines included. Stop strings apply to the
// answer only (a blank line in the thinking must not end it); in a model without thinking
// everything is answer. Engine thread only.

#include <optional>
#include <span>
#include <vector>

#include "core/request.h"
#include "engine/stop_matcher.h"
#include "engine/stream_event.h"
#include "scheduler/sequence.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {

class ChoiceStream {
 public:
  ChoiceStream(const Tokenizer& tokenizer, std::shared_ptr<const Request> request, int choice,
               EventSink* sink);

  // One committed token; `num_output` counts it. Ready events are appended to `events`.
  FinishReason push(const SampledToken& token, std::span<const TokenLogprob> top, int num_output,
                    int max_tokens, std::vector<StreamEvent>& events);
  // The last event of the choice, with whatever text is left.
  void finish(const Sequence& sequence, std::vector<StreamEvent>& events);

  // Thinking tokens until the request's `closing` is due; 0: now. Nothing while it never is: no
  // bound, no room for an answer behind it, or the model is answering.
  std::optional<int> thinking_left(int num_output, int max_tokens) const;
  // The fewest output tokens until then, for a model that may also start to think.
  int draft_limit(int num_output, int max_tokens) const;

  EventSink* sink() const { return sink_; }
  const Request& request() const { return *request_; }

 private:
  bool is_stop_token(TokenId id) const;
  bool is_channel_token(TokenId id) const;
  bool switch_channel(TokenId id, std::vector<StreamEvent>& events);
  void emit(std::vector<StreamEvent>& events);
  void flush_text();
  StreamEvent& pending();

  const std::shared_ptr<const Request> request_;
  const int choice_;
  EventSink* const sink_;
  StreamDecoder decoder_;
  StopMatcher stops_;
  TextChannel channel_;
  bool stopped_ = false;  // a stop string matched: no more text
  int num_reasoning_tokens_ = 0;
  std::string piece_;
  std::optional<StreamEvent> pending_;  // of channel_, until it has text
};

}  // namespace sparrow
