#include "api/answers/answer_codec.h"

#include <gtest/gtest.h>

#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace sparrow::api {
namespace {

constexpr AnswerShape kShape{
    .first_request_id = 1, .num_prompts = 2, .choices_per_prompt = 2, .vocab_size = 1000};

StreamEvent text_event(TextChannel channel, const std::string& text, int num_tokens) {
  StreamEvent event;
  event.channel = channel;
  event.text = text;
  for (int i = 0; i < num_tokens; ++i) {
    event.tokens.push_back({i * 7 % 1000, -0.25f * static_cast<float>(i), {{i, -1.5f}, {3, -2.f}}});
  }
  return event;
}

StreamEvent end_event(FinishReason reason) {
  StreamEvent event;
  event.finish = reason;
  event.usage = {.num_prompt_tokens = 300,
                 .num_cached_tokens = 16,
                 .num_output_tokens = 7,
                 .num_reasoning_tokens = 2,
                 .queue_time = Duration(1),
                 .prefill_time = Duration(123456789),
                 .decode_time = Duration(1'000'000'000'000)};
  return event;
}

std::string sample_answer(FinishReason last = FinishReason::kMaxTokens) {
  std::string value;
  AnswerRecorder recorder(4, true, 1 << 20, [&](std::string bytes, bool) { value = bytes; });
  for (int choice = 0; choice < 4; ++choice) {
    recorder.add(choice, text_event(TextChannel::kReasoning, "think 麻雀", 2));
  }
  for (int choice = 3; choice >= 0; --choice) {
    recorder.add(choice, text_event(TextChannel::kAnswer, "answer " + std::to_string(choice), 3));
    recorder.add(choice, end_event(choice == 0 ? last : FinishReason::kStopToken));
  }
  recorder.finish();
  return value;
}

TEST(AnswerCodec, EveryPartOfAnAnswer_ComesBack) {
  std::vector<StreamEvent> events;
  ASSERT_TRUE(decode_answer(sample_answer(), kShape, events));
  std::vector<std::string> thinking(4), text(4);
  std::vector<size_t> num_tokens(4);
  for (const StreamEvent& event : events) {
    const auto choice = (event.request_id - 1) * 2 + static_cast<uint64_t>(event.choice);
    ASSERT_LT(choice, 4u);
    (event.channel == TextChannel::kReasoning ? thinking : text)[choice] += event.text;
    num_tokens[choice] += event.tokens.size();
    if (event.finish == FinishReason::kNone) continue;
    EXPECT_EQ(event.finish, choice == 0 ? FinishReason::kMaxTokens : FinishReason::kStopToken);
    EXPECT_EQ(event.usage.num_prompt_tokens, 300);
    EXPECT_EQ(event.usage.num_cached_tokens, 16);
    EXPECT_EQ(event.usage.num_output_tokens, 7);
    EXPECT_EQ(event.usage.num_reasoning_tokens, 2);
    EXPECT_EQ(event.usage.queue_time, Duration(1));
    EXPECT_EQ(event.usage.prefill_time, Duration(123456789));
    EXPECT_EQ(event.usage.decode_time, Duration(1'000'000'000'000));
  }
  for (size_t choice = 0; choice < 4; ++choice) {
    EXPECT_EQ(thinking[choice], "think 麻雀");
    EXPECT_EQ(text[choice], "answer " + std::to_string(choice));
    EXPECT_EQ(num_tokens[choice], 5u);
  }
  const EventToken& token = events.front().tokens.at(1);
  EXPECT_EQ(token.id, 7);
  EXPECT_EQ(token.logprob, -0.25f);
  ASSERT_EQ(token.top.size(), 2u);
  EXPECT_EQ(token.top[0].logprob, -1.5f);
}

TEST(AnswerCodec, SmallEvents_ShareAPiece_AndPiecesStaySmall) {
  std::string value;
  AnswerRecorder recorder(1, false, 1 << 20, [&](std::string bytes, bool) { value = bytes; });
  for (int i = 0; i < 5000; ++i) recorder.add(0, text_event(TextChannel::kAnswer, "abcd", 1));
  recorder.add(0, end_event(FinishReason::kStopToken));
  recorder.finish();
  std::vector<StreamEvent> events;
  ASSERT_TRUE(decode_answer(value, {.first_request_id = 1, .vocab_size = 1000}, events));
  EXPECT_LT(events.size(), 60u);
  size_t num_bytes = 0;
  for (const StreamEvent& event : events) {
    EXPECT_LE(event.text.size(), 520u);
    num_bytes += event.text.size();
    for (const EventToken& token : event.tokens) EXPECT_EQ(token.logprob, 0);
  }
  EXPECT_EQ(num_bytes, 20'000u);
}

TEST(AnswerRecorder, WhatDidNotEndOrdinarily_IsNotKept) {
  EXPECT_FALSE(sample_answer().empty());
  for (const FinishReason reason :
       {FinishReason::kCancelled, FinishReason::kDeadline, FinishReason::kNoMemory,
        FinishReason::kNotFinite, FinishReason::kError}) {
    EXPECT_TRUE(sample_answer(reason).empty()) << finish_reason_name(reason);
  }
  int num_kept = 0;
  AnswerRecorder unfinished(2, false, 1000, [&](std::string, bool) { ++num_kept; });
  unfinished.add(0, end_event(FinishReason::kStopToken));
  unfinished.finish();
  AnswerRecorder long_one(1, false, 1000, [&](std::string, bool) { ++num_kept; });
  long_one.add(0, text_event(TextChannel::kAnswer, std::string(990, 'a'), 20));
  long_one.add(0, end_event(FinishReason::kStopToken));
  long_one.finish();
  EXPECT_EQ(num_kept, 0);
}

TEST(AnswerRecorder, Complete_MeansEveryChoiceEndedByItself) {
  for (const auto& [reason, complete] :
       {std::pair(FinishReason::kStopToken, true), std::pair(FinishReason::kStopString, true),
        std::pair(FinishReason::kMaxTokens, false), std::pair(FinishReason::kContextFull, false)}) {
    std::optional<bool> kept;
    AnswerRecorder recorder(2, false, 1000, [&](std::string, bool whole) { kept = whole; });
    recorder.add(1, end_event(reason));
    recorder.add(0, end_event(FinishReason::kStopToken));
    recorder.finish();
    EXPECT_EQ(kept, complete) << finish_reason_name(reason);
  }
}

TEST(AnswerCodec, CutAndWrongShapes_AreRefused) {
  const std::string value = sample_answer();
  std::vector<StreamEvent> events;
  for (size_t size = 0; size < value.size(); ++size) {
    EXPECT_FALSE(decode_answer(value.substr(0, size), kShape, events)) << size;
  }
  EXPECT_FALSE(decode_answer(value + '\0', kShape, events));
  AnswerShape shape = kShape;
  shape.choices_per_prompt = 1;
  EXPECT_FALSE(decode_answer(value, shape, events));
  shape = kShape;
  shape.vocab_size = 7;  // ids beyond the vocabulary must not reach the tokenizer
  EXPECT_FALSE(decode_answer(value, shape, events));
  std::string other = value;
  other[0] = 2;
  EXPECT_FALSE(decode_answer(other, kShape, events)) << "a later version";
}

TEST(AnswerCodec, HostileBytes_EndInTimeAndMemory) {
  const std::string value = sample_answer();
  for (uint64_t seed = 0; seed < 20'000; ++seed) {
    std::string bytes = value;
    for (uint64_t i = 0; i <= seed % 4; ++i) {
      bytes[random_bits(seed, 1, i) % bytes.size()] = static_cast<char>(random_bits(seed, 2, i));
    }
    if (seed % 5 == 0) bytes.resize(random_bits(seed, 3, 0) % bytes.size());
    ASSERT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()),
              0);
  }
}

}  // namespace
}  // namespace sparrow::api
