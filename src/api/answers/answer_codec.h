#pragma once
// The stored form of an answer: the events of all its choices, from which every dialect, whole or
// streamed, makes the same reply as from the engine. AnswerRecorder writes it while the answer
// comes (loop thread of the request); decode_answer() reads it, from a file that may be hostile.
//
// Version 1: byte 1, number of choices, then pieces: choice, flags (1 thinking, 2 last of its
// choice, 4 logprobs), text, tokens, and behind the last piece of a choice its finish reason and
// usage. Numbers are LEB128, logprobs 4 bytes little-endian. Consecutive events of one choice and
// channel share a piece.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/stream_event.h"

namespace sparrow::api {

// The request that an answer is for.
struct AnswerShape {
  uint64_t first_request_id = 0;
  int num_prompts = 1;
  int choices_per_prompt = 1;
  int vocab_size = 0;
};

// False: not an answer of this version and shape. Never allocates more than a small multiple of
// `bytes`.
bool decode_answer(std::string_view bytes, const AnswerShape& shape,
                   std::vector<StreamEvent>& events);

class AnswerRecorder {
 public:
  // All choices ended ordinarily. `complete`: each by its own end, none at a limit.
  using Keep = std::function<void(std::string value, bool complete)>;

  AnswerRecorder(int num_choices, bool with_logprobs, size_t max_bytes, Keep keep);

  // `choice` counts over all prompts of the request. After an unusual end nothing is kept.
  void add(int choice, const StreamEvent& event);
  // The reply is complete: hands the answer on, if it is one to keep.
  void finish();

 private:
  struct Piece {
    TextChannel channel = TextChannel::kAnswer;
    std::string text;
    std::string tokens;
    uint64_t num_tokens = 0;
    bool finished = false;
  };
  void append_tokens(Piece& piece, const StreamEvent& event) const;
  void close_piece(size_t choice, const StreamEvent* last);
  void give_up();

  const bool with_logprobs_;
  const size_t max_bytes_;
  Keep keep_;                // empty: given up
  std::vector<Piece> open_;  // by choice
  std::string bytes_;
  size_t num_finished_ = 0;
  bool complete_ = true;
};

}  // namespace sparrow::api
