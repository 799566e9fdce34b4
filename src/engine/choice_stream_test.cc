#include "engine/choice_stream.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace sparrow {
namespace {

// Feeds tokens written as text with <think>, </think> and <eos> and collects what comes out.
class ChoiceStreamTest : public ::testing::Test {
 protected:
  std::vector<TokenId> ids(const std::string& text) { return tokenizer_->encode(text); }

  // Stops where the stream says so; the rest of the text is then not fed.
  FinishReason feed(Request request, const std::vector<TokenId>& tokens) {
    request.id = 1;
    Sequence sequence;
    sequence.request = std::make_shared<const Request>(std::move(request));
    sequence.finish = FinishReason::kCancelled;
    ChoiceStream stream(*tokenizer_, sequence.request, 0, &sink_);
    for (const TokenId id : tokens) {
      sequence.tokens.push_back(id);
      SampledToken token;
      token.id = id;
      const FinishReason reason =
          stream.push(token, {}, sequence.num_output_tokens(), 1000, events_);
      if (reason == FinishReason::kNone) continue;
      sequence.finish = reason;
      break;
    }
    stream.finish(sequence, events_);
    sink_.publish(std::vector<StreamEvent>(events_));
    return sequence.finish;
  }
  static Request thinking(bool starts_inside) {
    Request request;
    request.stop.max_tokens = 100;
    request.reasoning = {.start = kThinkStart, .end = kThinkEnd, .starts_inside = starts_inside};
    return request;
  }
  const Transcript& got() { return sink_.at(1); }

  std::shared_ptr<const Tokenizer> tokenizer_ = test_tokenizer();
  std::vector<StreamEvent> events_;
  CollectingSink sink_;
};

TEST_F(ChoiceStreamTest, ThinkEnd_SwitchesAndKeepsTheNewlinesBehindIt) {
  feed(thinking(true), ids("why\n</think>\n\nbecause"));
  EXPECT_EQ(got().reasoning, "why\n");
  EXPECT_EQ(got().answer, "\n\nbecause");
  EXPECT_EQ(got().usage.num_reasoning_tokens, 5);
}

TEST_F(ChoiceStreamTest, SecondMarks_AreNoText) {
  feed(thinking(true), ids("<think>a</think>b</think>c"));
  EXPECT_EQ(got().reasoning, "a");
  EXPECT_EQ(got().answer, "bc");
}

TEST_F(ChoiceStreamTest, ModelWithoutThinking_GivesTheMarksAsText) {
  Request request;
  request.stop.max_tokens = 100;
  feed(request, ids("a<think>b"));
  EXPECT_EQ(got().answer, "a<think>b");
}

TEST_F(ChoiceStreamTest, HeldBackText_BelongsToTheChannelThatEnds) {
  Request request = thinking(false);
  request.stop.strings = {"ENDING"};
  feed(request, ids("ab END<think>x</think>ING"));
  EXPECT_EQ(got().answer, "ab ENDING") << "two pieces: no stop string";
  EXPECT_EQ(got().reasoning, "x");
  EXPECT_EQ(got().finishes.back(), FinishReason::kCancelled);
}

TEST_F(ChoiceStreamTest, StopString_ReportsTheTokensBehindIt) {
  Request request = thinking(false);
  request.stop.strings = {"END"};
  EXPECT_EQ(feed(request, ids("ab ENDING")), FinishReason::kStopString);
  EXPECT_EQ(got().answer, "ab ");
  EXPECT_EQ(got().tokens, ids("ab END"));
}

TEST_F(ChoiceStreamTest, IncludedStopString_StaysInTheText) {
  Request request = thinking(false);
  request.stop.strings = {"END"};
  request.stop.include_stop_string = true;
  EXPECT_EQ(feed(request, ids("ab ENDING")), FinishReason::kStopString);
  EXPECT_EQ(got().answer, "ab END");
}

TEST_F(ChoiceStreamTest, ThinkEndAsStopToken_EndsWithTheThought) {
  Request request = thinking(true);
  request.stop.token_ids = {kThinkEnd};
  EXPECT_EQ(feed(request, ids("abc</think>def")), FinishReason::kStopToken);
  EXPECT_EQ(got().reasoning, "abc");
  EXPECT_EQ(got().answer, "");
}

TEST_F(ChoiceStreamTest, CharacterCutByTheEnd_BecomesOneReplacement) {
  std::vector<TokenId> tokens = ids("a中");
  tokens.pop_back();
  feed(thinking(false), tokens);
  EXPECT_EQ(got().answer, "a\xEF\xBF\xBD");
}

TEST_F(ChoiceStreamTest, NoEvent_IsEmpty) {
  feed(thinking(true), ids("中</think>文<think></think>x"));
  for (const StreamEvent& event : events_) {
    EXPECT_TRUE(!event.text.empty() || !event.tokens.empty() ||
                event.finish != FinishReason::kNone);
  }
  EXPECT_EQ(got().tokens, ids("中</think>文<think></think>x"));
}

}  // namespace
}  // namespace sparrow
