// The golden stream of chat and completions, byte for byte, from scripted engine events.

#include "api/test_support.h"

namespace sparrow::api {
namespace {

const char* const kHi = R"("messages":[{"role":"user","content":"hi"}])";

// Ids and times differ from run to run.
std::string masked(std::string text) {
  const size_t at = text.find("cmpl-");
  if (at != std::string::npos) {
    const std::string id = text.substr(at, 5 + 32);
    for (size_t next = at; (next = text.find(id, next)) != std::string::npos;) {
      text.replace(next, id.size(), "cmpl-1");
    }
  }
  for (size_t next = 0; (next = text.find("\"created\":", next)) != std::string::npos;) {
    next += 10;
    text.replace(next, text.find(',', next) - next, "1");
  }
  return text;
}

ChoiceUsage usage_of(int prompt, int cached, int output, int reasoning) {
  ChoiceUsage usage;
  usage.num_prompt_tokens = prompt;
  usage.num_cached_tokens = cached;
  usage.num_output_tokens = output;
  usage.num_reasoning_tokens = reasoning;
  usage.prefill_time = std::chrono::milliseconds(10);
  usage.decode_time = std::chrono::milliseconds(20);
  return usage;
}

TEST(ChatStream, GoldenStream_IsWrittenToTheLetter) {
  ApiFixture fixture;
  const auto reply = fixture.post(
      "/v1/chat/completions",
      std::string("{") + kHi + R"(,"stream":true,"stream_options":{"include_usage":true}})");
  ASSERT_EQ(fixture.engine->requests.size(), 1u);
  const Request& request = fixture.engine->requests[0];
  EXPECT_TRUE(request.reasoning.starts_inside);
  EXPECT_EQ(request.reasoning.start, kTestThink);
  const int num_prompt = static_cast<int>(request.prompt.size());
  fixture.publish({text_event(request.id, TextChannel::kReasoning, "th\n")});
  fixture.publish(
      {text_event(request.id, TextChannel::kAnswer, "\n\n42"),
       finish_event(request.id, FinishReason::kStopToken, usage_of(num_prompt, 2, 9, 4))});
  EXPECT_TRUE(reply->ended);
  EXPECT_EQ(reply->status, 200);
  EXPECT_EQ(reply->content_type, "text/event-stream; charset=utf-8");
  EXPECT_EQ(reply->header("Cache-Control"), "no-cache");
  EXPECT_EQ(reply->header("X-Accel-Buffering"), "no");
  EXPECT_EQ(reply->writes.size(), 2u) << "one write per step";
  const std::string head =
      R"(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"tiny-r1",)";
  const std::string chunk = head + R"("usage":null,"choices":[{"index":0,"delta":)";
  EXPECT_EQ(
      masked(reply->body),
      chunk +
          R"({"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]})"
          "\n\n" +
          chunk + R"({"reasoning_content":"th\n","reasoning":"th\n"},"logprobs":null,)" +
          R"("finish_reason":null}]})"
          "\n\n" +
          chunk +
          R"({"content":"42"},"logprobs":null,"finish_reason":null}]})"
          "\n\n" +
          chunk +
          R"({},"logprobs":null,"finish_reason":"stop"}]})"
          "\n\n" +
          head +
          R"("choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16,)" +
          R"("prompt_tokens_details":{"cached_tokens":2},)" +
          R"("completion_tokens_details":{"reasoning_tokens":4}},)" +
          R"("timings":{"cache_n":2,"prompt_n":5,"prompt_ms":10.000,"prompt_per_second":500.000,)" +
          R"("predicted_n":9,"predicted_ms":20.000,"predicted_per_second":450.000},)" +
          R"("sparrow":{"finish_causes":["stop_token"]}})"
          "\n\ndata: [DONE]\n\n");
}

TEST(ChatStream, WithoutUsage_TheFinishChunkCarriesTheTimings) {
  ApiFixture fixture;
  const auto reply =
      fixture.post("/v1/chat/completions", std::string("{") + kHi + R"(,"stream":true,"foo":1})");
  EXPECT_EQ(fixture.engine->requests.size(), 1u);
  const uint64_t id = fixture.engine->requests[0].id;
  fixture.publish({finish_event(id, FinishReason::kMaxTokens, usage_of(7, 0, 5, 5))});
  EXPECT_EQ(reply->header("x-sparrow-ignored"), "foo");
  EXPECT_EQ(reply->body.find("\"usage\""), std::string::npos);
  EXPECT_NE(reply->body.find(R"("finish_reason":"length"}],"timings":{)"), std::string::npos);
  EXPECT_NE(reply->body.find(R"("sparrow":{"finish_causes":["max_tokens"],"warnings":["foo"]}})"),
            std::string::npos)
      << reply->body;
}

TEST(ChatStream, SeveralChoices_AppearInOrderAndShareOnePrompt) {
  ApiFixture fixture;
  const auto reply = fixture.post(
      "/v1/chat/completions",
      std::string("{") + kHi + R"(,"n":2,"stream":true,"stream_options":{"include_usage":true}})");
  const Request& request = fixture.engine->requests[0];
  EXPECT_EQ(request.num_choices, 2);
  fixture.publish({text_event(request.id, TextChannel::kReasoning, "b", 1),
                   finish_event(request.id, FinishReason::kMaxTokens, usage_of(7, 0, 1, 1), 1)});
  EXPECT_FALSE(reply->ended);
  fixture.publish({finish_event(request.id, FinishReason::kStopToken, usage_of(7, 0, 3, 2), 0)});
  EXPECT_TRUE(reply->ended);
  const size_t first = reply->body.find(R"([{"index":0,"delta":{"role")");
  const size_t second = reply->body.find(R"([{"index":1,"delta":{"role")");
  const size_t text = reply->body.find(R"([{"index":1,"delta":{"reasoning_content":"b")");
  EXPECT_LT(first, second);
  EXPECT_LT(second, text);
  EXPECT_NE(text, std::string::npos);
  EXPECT_NE(reply->body.find(R"("prompt_tokens":7,"completion_tokens":4,"total_tokens":11)"),
            std::string::npos)
      << reply->body;
}

std::string contents(const std::string& body, const std::string& field) {
  std::string all;
  for (size_t at = 0; (at = body.find("data: {", at)) != std::string::npos;) {
    at += 6;
    const auto chunk = json_of(body.substr(at, body.find("\n\n", at) - at));
    if (chunk.at("choices").as_array().empty()) continue;
    const auto* text = chunk.at("choices").at(0).at("delta").as_object().if_contains(field);
    if (text != nullptr) all += text->as_string().c_str();
  }
  return all;
}

TEST(ChatStream, InlineReasoning_HasBothTags) {
  ApiFixture fixture;
  const auto reply =
      fixture.post("/v1/chat/completions",
                   std::string("{") + kHi + R"(,"stream":true,"separate_reasoning":false})");
  const uint64_t id = fixture.engine->requests[0].id;
  fixture.publish({text_event(id, TextChannel::kReasoning, "why"),
                   text_event(id, TextChannel::kAnswer, "\n\nbecause"),
                   finish_event(id, FinishReason::kStopToken, usage_of(7, 0, 14, 4))});
  EXPECT_EQ(contents(reply->body, "content"), "<think>\nwhy</think>\n\nbecause");
  EXPECT_EQ(reply->body.find("reasoning_content"), std::string::npos);
}

TEST(ChatStream, ExcludedReasoning_IsDroppedButCounted) {
  ApiFixture fixture;
  const auto reply = fixture.post("/v1/chat/completions",
                                  std::string("{") + kHi + R"(,"include_reasoning":false})");
  const uint64_t id = fixture.engine->requests[0].id;
  fixture.publish({text_event(id, TextChannel::kReasoning, "secret"),
                   text_event(id, TextChannel::kAnswer, "\n\nhello"),
                   finish_event(id, FinishReason::kStopToken, usage_of(7, 0, 15, 7))});
  const auto body = reply->json();
  EXPECT_EQ(body.at("choices").at(0).at("message").at("content").as_string(), "hello");
  EXPECT_TRUE(body.at("choices").at(0).at("message").at("reasoning_content").is_null());
  EXPECT_EQ(body.at("usage").at("completion_tokens_details").at("reasoning_tokens").as_int64(), 7);
  EXPECT_EQ(reply->body.find("secret"), std::string::npos);
}

TEST(ChatStream, LogprobsAndTokenIds_CoverEveryToken) {
  ApiFixture fixture;
  const auto reply = fixture.post("/v1/chat/completions",
                                  std::string("{") + kHi +
                                      R"(,"logprobs":true,"top_logprobs":1,"return_token_ids":true,
                                         "reasoning_effort":"none"})");
  const Request& request = fixture.engine->requests[0];
  EXPECT_EQ(request.sampling.num_top_logprobs, 1);
  StreamEvent event = text_event(request.id, TextChannel::kAnswer, "é");
  event.tokens[0].top = {{kTestEos, -0.25f}};
  fixture.publish(
      {event, finish_event(request.id, FinishReason::kMaxTokens, usage_of(7, 0, 2, 0))});
  const auto choice = reply->json().at("choices").at(0);
  const auto& entries = choice.at("logprobs").at("content").as_array();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].at("bytes"), json_of("[195]"));
  EXPECT_EQ(entries[0].at("logprob").as_double(), -0.5);
  EXPECT_EQ(entries[0].at("top_logprobs").at(0).at("token").as_string(), "<eos>");
  EXPECT_EQ(choice.at("token_ids"), json_of("[195,169]"));
  EXPECT_EQ(reply->json().at("prompt_token_ids").as_array().size(), request.prompt.size());
}

TEST(ChatStream, FailureAfterTheStart_IsAnErrorEventAndDone) {
  ApiFixture fixture;
  const auto reply =
      fixture.post("/v1/chat/completions", std::string("{") + kHi + R"(,"stream":true})");
  const uint64_t id = fixture.engine->requests[0].id;
  fixture.publish({text_event(id, TextChannel::kAnswer, "x")});
  fixture.publish({finish_event(id, FinishReason::kError, {})});
  EXPECT_TRUE(reply->ended);
  EXPECT_EQ(reply->status, 200);
  EXPECT_TRUE(reply->body.ends_with(
      R"(data: {"error":{"message":"The server failed to compute this answer; its log says why.",)"
      R"("type":"server_error","param":null,"code":"internal_error"}})"
      "\n\ndata: [DONE]\n\n"))
      << reply->body;
}

TEST(ChatStream, FailureBeforeTheStart_IsAStatus) {
  ApiFixture fixture;
  const auto reply =
      fixture.post("/v1/chat/completions", std::string("{") + kHi + R"(,"stream":true})");
  fixture.publish({finish_event(fixture.engine->requests[0].id, FinishReason::kDeadline, {})});
  EXPECT_EQ(reply->status, 503);
  EXPECT_EQ(reply->error_code(), "deadline_unreachable");
  EXPECT_FALSE(reply->header("retry-after-ms").empty());
}

TEST(ChatStream, Silence_IsFilledWithHeartbeats) {
  ApiFixture fixture;
  const auto reply =
      fixture.post("/v1/chat/completions", std::string("{") + kHi + R"(,"stream":true})");
  fixture.server->tick();
  fixture.loop.run_ready();
  EXPECT_TRUE(reply->writes.empty());
  fixture.clock.advance(std::chrono::seconds(12));
  fixture.server->tick();
  fixture.loop.run_ready();
  EXPECT_EQ(reply->writes, std::vector<std::string>{": ping\n\n"});
  EXPECT_EQ(reply->status, 200);
  const uint64_t id = fixture.engine->requests[0].id;
  fixture.publish({finish_event(id, FinishReason::kStopToken, usage_of(7, 0, 1, 0))});
  EXPECT_NE(reply->body.find(R"("delta":{"role":"assistant")"), std::string::npos);
}

TEST(ChatStream, ClientLeaving_CancelsAtOnce) {
  ApiFixture fixture;
  const auto reply =
      fixture.post("/v1/chat/completions", std::string("{") + kHi + R"(,"stream":true})");
  const uint64_t id = fixture.engine->requests[0].id;
  EXPECT_EQ(fixture.server->num_active(), 1);
  reply->closed = true;
  reply->on_close();
  EXPECT_EQ(fixture.engine->cancelled, std::vector<uint64_t>{id});
  EXPECT_EQ(fixture.server->num_active(), 0);
  fixture.publish({text_event(id, TextChannel::kAnswer, "late")});
  EXPECT_TRUE(reply->body.empty());
}

TEST(ChatStream, SlowReader_IsCancelled) {
  ApiFixture fixture;
  const auto reply =
      fixture.post("/v1/chat/completions", std::string("{") + kHi + R"(,"stream":true})");
  const uint64_t id = fixture.engine->requests[0].id;
  reply->refuse_writes = true;
  fixture.publish({text_event(id, TextChannel::kAnswer, "x")});
  EXPECT_EQ(fixture.engine->cancelled, std::vector<uint64_t>{id});
  EXPECT_EQ(fixture.server->num_active(), 0);
}

TEST(Completions, SeveralPrompts_AreNumberedPromptByPrompt) {
  ApiFixture fixture;
  const auto reply =
      fixture.post("/v1/completions", R"({"prompt":["ab",[99,100]],"n":2,"max_tokens":4})");
  ASSERT_TRUE(fixture.loop.run_until([&] { return fixture.engine->requests.size() == 2; }));
  const Request first = fixture.engine->requests[0];
  const Request second = fixture.engine->requests[1];
  EXPECT_EQ(first.prompt, (std::vector<TokenId>{kTestBos, 'a', 'b'}));
  EXPECT_EQ(second.prompt, (std::vector<TokenId>{99, 100}));
  EXPECT_EQ(first.reasoning.start, -1) << "completions show the model's own text";
  std::vector<StreamEvent> events;
  for (const uint64_t id : {second.id, first.id}) {
    for (const int choice : {0, 1}) {
      events.push_back(text_event(id, TextChannel::kAnswer, id == first.id ? "A" : "B", choice));
      events.push_back(finish_event(id, FinishReason::kMaxTokens,
                                    usage_of(id == first.id ? 3 : 2, 0, 1, 0), choice));
    }
  }
  fixture.publish(std::move(events));
  const auto body = reply->json();
  EXPECT_EQ(body.at("object").as_string(), "text_completion");
  std::string texts;
  for (const auto& choice : body.at("choices").as_array()) texts += choice.at("text").as_string();
  EXPECT_EQ(texts, "AABB");
  EXPECT_EQ(body.at("choices").at(3).at("index").as_int64(), 3);
  EXPECT_EQ(body.at("usage").at("prompt_tokens").as_int64(), 5);
  EXPECT_EQ(body.at("usage").at("completion_tokens").as_int64(), 4);
}

TEST(Completions, GoldenStreamWithEcho_IsWrittenToTheLetter) {
  ApiFixture fixture;
  const auto reply =
      fixture.post("/v1/completions", R"({"prompt":"ab","echo":true,"stream":true})");
  const uint64_t id = fixture.engine->requests[0].id;
  fixture.publish({text_event(id, TextChannel::kAnswer, "c"),
                   finish_event(id, FinishReason::kStopString, usage_of(3, 0, 2, 0))});
  const std::string head =
      R"(data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"tiny-r1",)"
      R"("choices":[{"index":0,"text":)";
  EXPECT_EQ(masked(reply->body),
            head +
                R"("ab","logprobs":null,"finish_reason":null}]})"
                "\n\n" +
                head +
                R"("c","logprobs":null,"finish_reason":null}]})"
                "\n\n" +
                head + R"("","logprobs":null,"finish_reason":"stop"}],)" +
                R"("timings":{"cache_n":0,"prompt_n":3,"prompt_ms":10.000,)" +
                R"("prompt_per_second":300.000,"predicted_n":2,"predicted_ms":20.000,)" +
                R"("predicted_per_second":100.000},)" +
                R"("sparrow":{"finish_causes":["stop_string"]}})"
                "\n\ndata: [DONE]\n\n");
}

TEST(Completions, Logprobs_HaveTheLegacyForm) {
  ApiFixture fixture;
  const auto reply = fixture.post("/v1/completions", R"({"prompt":"ab","logprobs":1})");
  const uint64_t id = fixture.engine->requests[0].id;
  StreamEvent event = text_event(id, TextChannel::kAnswer, "é!");
  event.tokens[2].top = {{'?', -0.25f}};
  fixture.publish({event, finish_event(id, FinishReason::kMaxTokens, usage_of(3, 0, 3, 0))});
  EXPECT_EQ(reply->json().at("choices").at(0).at("logprobs"),
            json_of(R"({"tokens":["bytes:\\xc3","bytes:\\xa9","!"],
                        "token_logprobs":[-0.5,-0.5,-0.5],
                        "top_logprobs":[{"bytes:\\xc3":-0.5},{"bytes:\\xa9":-0.5},
                                        {"?":-0.25,"!":-0.5}],
                        "text_offset":[0,1,1]})"))
      << reply->body;
}

}  // namespace
}  // namespace sparrow::api
