#pragma once
// For tests of the engine: a byte tokenizer with thinking tokens, a sink that collects events, and
// requests in one line.

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "model/fake_executor.h"
#include "tokenizer/byte_alphabet.h"

namespace sparrow {

// Ids 0..255 are single bytes in the order of the byte alphabet; then come these.
inline constexpr TokenId kThinkStart = 256;
inline constexpr TokenId kThinkEnd = 257;
inline constexpr TokenId kEos = 258;
inline constexpr int kTestVocab = 259;

inline std::shared_ptr<const Tokenizer> test_tokenizer() {
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte) {
    spec.pieces.push_back(piece_of_bytes(std::string(1, static_cast<char>(byte))));
  }
  spec.added_tokens = {{.id = kThinkStart, .content = "<think>"},
                       {.id = kThinkEnd, .content = "</think>"},
                       {.id = kEos, .content = "<eos>", .special = true}};
  for (const AddedToken& token : spec.added_tokens) spec.pieces.push_back(token.content);
  spec.eos_token_id = kEos;
  auto tokenizer = Tokenizer::create(std::move(spec));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.message();
  return *tokenizer;
}

// What a client would have seen, by request and choice.
struct Transcript {
  std::string answer;
  std::string reasoning;
  std::vector<TokenId> tokens;
  std::vector<FinishReason> finishes;
  ChoiceUsage usage;
};

class CollectingSink final : public EventSink {
 public:
  void publish(std::vector<StreamEvent>&& events) override {
    ++num_publishes;
    for (StreamEvent& event : events) {
      Transcript& one = transcripts[{event.request_id, event.choice}];
      EXPECT_TRUE(one.finishes.empty()) << "an event after the finishing one";
      (event.channel == TextChannel::kAnswer ? one.answer : one.reasoning) += event.text;
      for (const EventToken& token : event.tokens) one.tokens.push_back(token.id);
      if (event.finish != FinishReason::kNone) {
        one.finishes.push_back(event.finish);
        one.usage = event.usage;
      }
    }
  }
  const Transcript& at(uint64_t request_id, int choice = 0) {
    return transcripts[{request_id, choice}];
  }

  std::map<std::pair<uint64_t, int>, Transcript> transcripts;
  int num_publishes = 0;
};

// The real time and as much beside it as the test says.
class SkewedClock final : public Clock {
 public:
  TimePoint now() const override { return RealClock().now() + Duration(skew_ns); }
  std::atomic<Duration::rep> skew_ns{0};
};

inline Request test_request(uint64_t id, std::vector<TokenId> prompt, int max_tokens) {
  Request request;
  request.id = id;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.stop.max_tokens = max_tokens;
  return request;
}

inline std::vector<TokenId> prompt_of(uint64_t seed, int length) {
  std::vector<TokenId> prompt(static_cast<size_t>(length));
  std::iota(prompt.begin(), prompt.end(), static_cast<TokenId>(seed * 7 % 100));
  return prompt;
}

}  // namespace sparrow
