#include "api/answers/answer_hints.h"

#include <gtest/gtest.h>

#include "api/answers/answer_key.h"
#include "api/request/chat_request.h"
#include "api/test_support.h"

namespace sparrow::api {
namespace {

TEST(NormaliseQuestion, DoesExactlyTheListedSteps) {
  const struct {
    const char* text;
    const char* normal;
  } cases[] = {
      {"  What is\t 17 *  23?  ", "What is 17 * 23"},
      {"What is 17 * 23", "What is 17 * 23"},
      {"What is 17 * 23 ?", "What is 17 * 23"},
      {"What is 17 * 23??", "What is 17 * 23?"},
      {"今天是星期三，１００天后是星期几？", "今天是星期三,100天后是星期几"},
      {"鸡兔同笼。", "鸡兔同笼"},
      {"ＡＢＣ　ｄｅｆ！", "ABC def!"},
      {"What is 5!", "What is 5!"},  // a factorial, not a mark
      {"Is it so.", "Is it so"},
      {"what is it", "what is it"},
      {"What is it", "What is it"},  // letter case stays
      {"for x in y:\n    print(x)\n", "for x in y:\n    print(x)"},
      {"", ""},
      {" \n\t ", ""},
      {"?", ""},
      {"\xEF\xBC", "\xEF\xBC"},
      {"é ü 麻雀", "é ü 麻雀"},
  };
  for (const auto& one : cases) {
    EXPECT_EQ(normalise_question(one.text), one.normal) << one.text;
    const std::string again = normalise_question(one.normal);
    EXPECT_EQ(normalise_question(again), again) << one.text;
  }
}

AnswerHints hints_of(const std::string& body) {
  const ServedModel model(test_model_info(), SystemRole::kFold);
  ChatRequest chat;
  const boost::json::object parsed = json_of(body).as_object();
  const MaybeError error = parse_chat_request(parsed, model, {}, chat);
  EXPECT_FALSE(error.has_value()) << body;
  AnswerHints hints = read_answer_hints(parsed);
  add_conversation(chat.turn, hints);
  return hints;
}

TEST(AnswerHints, TellWhatTheClientLeftOpen) {
  const std::string messages = R"("messages":[{"role":"user","content":"Hi"}])";
  EXPECT_TRUE(hints_of("{" + messages + "}").sampling_is_open);
  EXPECT_TRUE(hints_of("{" + messages + R"(,"max_tokens":9,"stream":true})").sampling_is_open);
  EXPECT_TRUE(hints_of("{" + messages + R"(,"temperature":null})").sampling_is_open);
  for (const char* field : {R"("temperature":0.6)", R"("top_p":0.95)", R"("top_k":3)",
                            R"("min_p":0.1)", R"("seed":1)"}) {
    EXPECT_FALSE(hints_of("{" + messages + "," + field + "}").sampling_is_open) << field;
  }
  EXPECT_TRUE(hints_of("{" + messages + R"(,"seed":0})").is_seeded);
  EXPECT_FALSE(hints_of("{" + messages + R"(,"seed":null})").is_seeded);
}

TEST(AnswerHints, ConversationsAreEqual_OnlyWhereNothingButTheLastSpellingDiffers) {
  const auto conversation = [](const std::string& messages, const std::string& more = "") {
    return hints_of(R"({"messages":[)" + messages + "]" + more + "}").conversation;
  };
  const std::string plain = conversation(R"({"role":"user","content":"Who are you?"})");
  EXPECT_FALSE(plain.empty());
  EXPECT_EQ(plain, conversation(R"({"role":"user","content":"  Who  are you "})"));
  EXPECT_EQ(plain,
            conversation(R"({"role":"user","content":[{"type":"text","text":"Who are you?"}]})"));
  EXPECT_NE(plain, conversation(R"({"role":"user","content":"who are you?"})"));
  EXPECT_NE(plain, conversation(R"({"role":"system","content":"Be short"},
                                   {"role":"user","content":"Who are you?"})"));
  EXPECT_NE(plain, conversation(R"({"role":"user","content":"Who are you?"})",
                                R"(,"reasoning_effort":"none")"));
  EXPECT_NE(plain, conversation(R"({"role":"user","content":"Who are you?"})",
                                R"(,"chat_template_kwargs":{"style":"x"})"));
  const std::string turns =
      R"({"role":"user","content":"A  b"},{"role":"assistant","content":"c"},)";
  EXPECT_NE(conversation(turns + R"({"role":"user","content":"d"})"),
            conversation(R"({"role":"user","content":"A b"},{"role":"assistant","content":"c"},
                            {"role":"user","content":"d"})"))
      << "earlier messages are taken as they are";
  EXPECT_EQ(conversation(R"({"role":"user","content":"a"},{"role":"assistant","content":"b"})",
                         R"(,"continue_final_message":true,"add_generation_prompt":false)"),
            "");
  EXPECT_EQ(conversation(R"({"role":"user","content":" ? "})"), "");
  EXPECT_EQ(conversation(R"({"role":"user","content":")" + std::string(900, 'a') + "\"}").empty(),
            false);
}

Request keyed_request() {
  Request request;
  request.id = 5;
  request.prompt = {1, 2, 300};
  request.sampling.temperature = 0.6;
  request.sampling.seed = 7;
  request.stop.max_tokens = 100;
  request.reasoning = {10, 11, true};
  return request;
}

// What decides the text is in the key, and nothing else.
TEST(AnswerKey, EveryFieldThatDecidesTheText_ChangesIt) {
  const std::string key = exact_answer_key("tenant", "model", {keyed_request()});
  const std::vector<std::function<void(Request&)>> changes = {
      [](Request& r) { r.prompt.back() = 301; },
      [](Request& r) { r.prompt.push_back(1); },
      [](Request& r) { r.prompt.pop_back(); },
      [](Request& r) { r.sampling.temperature = 0.61; },
      [](Request& r) { r.sampling.top_k = 1; },
      [](Request& r) { r.sampling.top_p = 0.9; },
      [](Request& r) { r.sampling.min_p = 0.1; },
      [](Request& r) { r.sampling.repetition_penalty = 1.1; },
      [](Request& r) { r.sampling.presence_penalty = 0.1; },
      [](Request& r) { r.sampling.frequency_penalty = 0.1; },
      [](Request& r) {
        r.sampling.logit_bias = {{3, 1.0f}};
      },
      [](Request& r) { r.sampling.seed = 8; },
      [](Request& r) { r.sampling.num_top_logprobs = 0; },
      [](Request& r) { r.stop.token_ids = {4}; },
      [](Request& r) { r.stop.strings = {"a"}; },
      [](Request& r) { r.stop.include_stop_string = true; },
      [](Request& r) { r.stop.ignore_eos = true; },
      [](Request& r) { r.stop.min_tokens = 1; },
      [](Request& r) { r.stop.max_tokens = 99; },
      [](Request& r) { r.reasoning.starts_inside = false; },
      [](Request& r) { r.num_choices = 2; },
      [](Request& r) { r.skip_special_tokens = false; },
      [](Request& r) { r.cache_salt = "s"; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    Request changed = keyed_request();
    changes[i](changed);
    EXPECT_NE(exact_answer_key("tenant", "model", {changed}), key) << "change " << i;
  }
  EXPECT_NE(exact_answer_key("tenan", "tmodel", {keyed_request()}), key);
  EXPECT_NE(exact_answer_key("tenant", "model2", {keyed_request()}), key);
  EXPECT_NE(exact_answer_key("tenant", "model", {keyed_request(), keyed_request()}), key);

  Request same = keyed_request();
  same.id = 99;
  same.label = "other";
  same.speculative = false;
  same.priority = 3;
  same.fairness_key = "somebody";
  same.arrival += Duration(5);
  EXPECT_EQ(exact_answer_key("tenant", "model", {same}), key);
}

TEST(AnswerKey, AGreedyAnswer_DoesNotDependOnTheSeed) {
  Request one = keyed_request(), two = keyed_request();
  one.sampling.temperature = two.sampling.temperature = 0;
  two.sampling.seed = 1234;
  EXPECT_EQ(exact_answer_key("t", "m", {one}), exact_answer_key("t", "m", {two}));
  two.sampling.temperature = -0.0;
  EXPECT_EQ(exact_answer_key("t", "m", {one}), exact_answer_key("t", "m", {two}));
}

TEST(AnswerKey, TheList_LooksAtTheConversationInsteadOfTheTokens) {
  Request one = keyed_request(), two = keyed_request();
  two.prompt = {9};
  two.sampling.seed = 3;
  two.stop.max_tokens = 5;
  const std::string key = listed_answer_key("m", "t", "c", one);
  EXPECT_EQ(listed_answer_key("m", "t", "c", two), key);
  EXPECT_NE(listed_answer_key("m", "t", "d", one), key);
  EXPECT_NE(listed_answer_key("m", "u", "c", one), key);
  EXPECT_NE(listed_answer_key("n", "t", "c", one), key);
  two.sampling.temperature = 0.7;
  EXPECT_NE(listed_answer_key("m", "t", "c", two), key);
}

}  // namespace
}  // namespace sparrow::api
