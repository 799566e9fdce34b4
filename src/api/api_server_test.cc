#include "api/api_server.h"

#include "api/auth.h"
#include "api/test_support.h"

namespace sparrow::api {
namespace {

const std::string kChat = R"({"messages":[{"role":"user","content":"hi"}]})";

void expect_four_keys(const Recorded& reply) {
  const boost::json::object error = reply.json().at("error").as_object();
  EXPECT_EQ(error.size(), 4u) << reply.body;
  EXPECT_TRUE(error.at("message").is_string());
  EXPECT_TRUE(error.at("type").is_string());
  EXPECT_TRUE(error.at("param").is_string() || error.at("param").is_null());
  EXPECT_TRUE(error.at("code").is_string());
}

TEST(ApiServer, WrongBodies_AreAnsweredByName) {
  ApiFixture fixture;
  const struct {
    std::string body;
    const char* code;
  } cases[] = {
      {"", "invalid_request"},
      {"{", "invalid_request"},
      {"[]", "invalid_request"},
      {"{} x", "invalid_request"},
      {"{\"messages\":\"hi\"}", "invalid_request"},
      {"{\"messages\":[]}", "invalid_request"},
      {"{}", "invalid_request"},
      {std::string("{\"messages\":[{\"role\":\"user\",\"content\":\"\xFF\"}]}"), "invalid_request"},
      {std::string(100000, '[') + std::string(100000, ']'), "invalid_request"},
      {R"({"messages":[{"role":"user","content":"hi"}],"temperature":1e400})", "invalid_request"},
      {R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":0})", "invalid_request"},
      {R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":-1})", "invalid_request"},
      {R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":1024})",
       "context_length_exceeded"},
      {R"({"messages":[{"role":"user","content":")" + std::string(2000, 'a') + R"("}]})",
       "context_length_exceeded"},
      {R"({"messages":[{"role":"user","content":")" + std::string(4 << 20, 'a') + R"("}]})",
       "context_length_exceeded"},
      {R"({"messages":[{"role":"user","content":"hi"}],"tools":[{}]})", "unsupported_parameter"},
      {R"({"messages":[{"role":"user","content":"hi"}],"min_tokens":9,"max_tokens":8})",
       "invalid_request"},
  };
  for (const auto& one : cases) {
    const auto reply = fixture.post("/v1/chat/completions", one.body);
    EXPECT_EQ(reply->status, 400) << one.body.substr(0, 200);
    EXPECT_EQ(reply->error_code(), one.code) << reply->body.substr(0, 400);
    EXPECT_EQ(reply->header("x-should-retry"), "false");
    expect_four_keys(*reply);
  }
  EXPECT_TRUE(fixture.engine->requests.empty());
  EXPECT_EQ(fixture.server->num_active(), 0);
}

TEST(ApiServer, Overflow_BeginsAsClientsExpect) {
  ApiFixture fixture;
  const auto reply = fixture.post(
      "/v1/chat/completions", R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":1018})");
  EXPECT_EQ(reply->error_message().rfind("This model's maximum context length is 1024 tokens. "
                                         "However, you requested 1025 tokens",
                                         0),
            0u)
      << reply->body;
  const auto fits = fixture.post(
      "/v1/chat/completions", R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":1017})");
  EXPECT_FALSE(fits->ended);
  EXPECT_EQ(fixture.engine->requests.back().stop.max_tokens, 1017);
}

TEST(ApiServer, AbsentMaxTokens_IsTheRestOfTheWindowWithinTheDefault) {
  ApiFixture fixture;
  fixture.post("/v1/chat/completions", kChat);
  EXPECT_EQ(fixture.engine->requests.back().stop.max_tokens, 1024 - 7);
  ApiOptions options;
  options.default_max_tokens = 100;
  ApiFixture limited(options);
  limited.post("/v1/chat/completions", kChat);
  EXPECT_EQ(limited.engine->requests.back().stop.max_tokens, 100);
}

TEST(ApiServer, CompletionPrompts_AreChecked) {
  ApiFixture fixture;
  for (const char* body :
       {R"({})", R"({"prompt":[]})", R"({"prompt":[[]]})", R"({"prompt":[264]})",
        R"({"prompt":[-1]})", R"({"prompt":[1.5]})", R"({"prompt":{"a":1}})", R"({"prompt":5})",
        R"({"prompt":["a",5]})", R"({"prompt":"a","echo":true,"logprobs":1})",
        R"({"prompt":"a","suffix":"b"})", R"({"prompt":"a","best_of":2})",
        R"({"prompt":"a","logprobs":21})", R"({"prompt":"a","logprobs":true})",
        R"({"prompt":"a","messages":[]})"}) {
    const bool unknown = std::string(body).find("messages") != std::string::npos;
    const auto reply = fixture.post("/v1/completions", body);
    EXPECT_EQ(reply->status, unknown ? 0 : 400) << body << reply->body;
  }
  EXPECT_EQ(fixture.engine->requests.size(), 1u);
  std::string many = R"({"prompt":["a")";
  for (int i = 0; i < 128; ++i) many += R"(,"a")";
  EXPECT_EQ(fixture.post("/v1/completions", many + "]}")->status, 400);
}

TEST(ApiServer, ModelNames_MatchInAnyLetterCase) {
  ApiFixture fixture;
  for (const char* name : {"tiny-r1", "SECOND", "deepseek-r1-tiny", "/models/DeepSeek-R1-Tiny/",
                           "DeepSeek-AI/deepseek-r1-tiny-hub", "deepseek-r1-tiny-hub", ""}) {
    const auto reply = fixture.post(
        "/v1/chat/completions",
        std::string(R"({"model":")") + name + R"(","messages":[{"role":"user","content":"hi"}]})");
    EXPECT_FALSE(reply->ended) << name << reply->body;
  }
  const auto reply = fixture.post(
      "/v1/chat/completions", R"({"model":"gpt-4","messages":[{"role":"user","content":"x"}]})");
  EXPECT_EQ(reply->status, 404);
  EXPECT_EQ(reply->error_code(), "model_not_found");
  EXPECT_EQ(reply->json().at("error").at("type").as_string(), "invalid_request_error");
  EXPECT_EQ(reply->body.find("/models/"), std::string::npos) << "no path leaves the server";
}

TEST(ApiServer, Models_AreListedAndShown) {
  ApiFixture fixture;
  const auto list = fixture.call("GET", "/v1/models");
  EXPECT_EQ(list->body,
            R"({"object":"list","data":[{"id":"tiny-r1","object":"model","created":7,)"
            R"("owned_by":"sparrow","root":"DeepSeek-R1-Tiny","parent":null,)"
            R"("max_model_len":1024,"permission":[]},{"id":"second","object":"model","created":7,)"
            R"("owned_by":"sparrow","root":"DeepSeek-R1-Tiny","parent":null,)"
            R"("max_model_len":1024,"permission":[]}]})");
  const auto one = fixture.call("GET", "/v1/models/deepseek-ai/deepseek-r1-tiny-hub");
  EXPECT_EQ(one->json().at("id").as_string(), "tiny-r1");
  EXPECT_EQ(fixture.call("GET", "/v1/models/other")->error_code(), "model_not_found");
}

TEST(ApiServer, UnknownPathsAndMethods_HaveTheErrorShape) {
  ApiFixture fixture;
  const auto missing = fixture.call("GET", "/v1/nothing");
  EXPECT_EQ(missing->status, 404);
  EXPECT_EQ(missing->error_code(), "not_found");
  expect_four_keys(*missing);
  const auto method = fixture.call("GET", "/v1/chat/completions");
  EXPECT_EQ(method->status, 405);
  EXPECT_EQ(method->error_code(), "http_405");
  expect_four_keys(*method);
  const http::Response large = ApiServer::protocol_error(413, "too large");
  EXPECT_EQ(json_of(large.body).at("error").at("code").as_string(), "http_413");
}

TEST(ApiServer, Phases_ShowInHealthAndRefusals) {
  ApiFixture loading(ApiOptions{}, false);
  EXPECT_EQ(loading.call("GET", "/health")->status, 503);
  EXPECT_EQ(loading.call("GET", "/livez")->status, 200);
  EXPECT_EQ(loading.call("GET", "/readyz")->status, 503);
  EXPECT_EQ(loading.call("GET", "/v1/models")->status, 200);
  const auto early = loading.call("POST", "/v1/chat/completions", kChat);
  EXPECT_EQ(early->status, 503);
  EXPECT_EQ(early->error_code(), "loading");
  EXPECT_EQ(early->header("retry-after"), "2");
  EXPECT_EQ(early->header("x-should-retry"), "true");

  ApiFixture fixture;
  for (const char* path :
       {"/health", "/ping", "/livez", "/readyz", "/version", "/load", "/metrics", "/docs", "/"}) {
    EXPECT_EQ(fixture.call("GET", path)->status, 200) << path;
  }
  const auto running = fixture.post("/v1/chat/completions", kChat);
  EXPECT_EQ(fixture.call("GET", "/load")->body, R"({"server_load":1})");
  fixture.server->begin_drain();
  EXPECT_EQ(fixture.call("GET", "/readyz")->status, 503);
  EXPECT_EQ(fixture.call("GET", "/health")->status, 200);
  const auto late = fixture.call("POST", "/v1/chat/completions", kChat);
  EXPECT_EQ(late->status, 503);
  EXPECT_EQ(late->error_code(), "draining");
  EXPECT_FALSE(late->header("retry-after-ms").empty());
  const uint64_t id = fixture.engine->requests[0].id;
  fixture.publish({finish_event(id, FinishReason::kStopToken, {})});
  EXPECT_EQ(running->status, 200) << "what runs is finished";
}

TEST(ApiServer, FailedEngine_IsNeitherHealthyNorAlive) {
  ApiFixture fixture;
  fixture.engine->state.failed = true;
  EXPECT_EQ(fixture.call("GET", "/health")->status, 503);
  EXPECT_EQ(fixture.call("GET", "/livez")->status, 503);
}

TEST(ApiServer, OpenBreaker_IsAliveAndReadyAgainForTheProbe) {
  ApiFixture fixture;
  fixture.engine->state.breaker = BreakerState::kOpen;
  fixture.engine->state.breaker_retry_at = fixture.clock.now() + from_ms(2500);
  EXPECT_EQ(fixture.call("GET", "/health")->status, 503);
  EXPECT_EQ(fixture.call("GET", "/livez")->status, 200);
  EXPECT_EQ(fixture.call("GET", "/readyz")->status, 503);
  fixture.clock.advance(from_ms(2500));
  EXPECT_EQ(fixture.call("GET", "/readyz")->status, 200);
}

TEST(ApiServer, ApiKeys_GuardAllButHealth) {
  ApiOptions options;
  options.api_keys = {"key-one", "key-two"};
  ApiFixture fixture(options);
  for (const char* path : {"/health", "/ping", "/livez", "/readyz", "/"}) {
    EXPECT_EQ(fixture.call("GET", path)->status, 200) << path;
  }
  for (const char* path : {"/v1/models", "/metrics", "/docs", "/nothing"}) {
    const auto reply = fixture.call("GET", path);
    EXPECT_EQ(reply->status, 401) << path;
    EXPECT_EQ(reply->error_code(), "invalid_api_key");
  }
  const auto get = [&](http::Headers headers) {
    return fixture.call("GET", "/v1/models", "", std::move(headers))->status;
  };
  EXPECT_EQ(get({{"authorization", "Bearer key-two"}}), 200);
  EXPECT_EQ(get({{"authorization", "bearer key-one"}}), 200);
  EXPECT_EQ(get({{"x-api-key", "key-one"}}), 200);
  EXPECT_EQ(get({{"authorization", "Bearer key-onf"}}), 401);
  EXPECT_EQ(get({{"authorization", "Bearer key-on"}}), 401);
  EXPECT_EQ(get({{"authorization", "Bearer "}}), 401);
  EXPECT_EQ(get({{"authorization", "Basic key-one"}}), 401);
  EXPECT_EQ(get({{"x-api-key", ""}}), 401);
}

TEST(ApiServer, RefusedSubmit_BecomesA503) {
  ApiFixture fixture;
  fixture.engine->refusal = resource_exhausted("The queue is full.");
  const auto reply = fixture.post("/v1/chat/completions", kChat);
  EXPECT_EQ(reply->status, 503);
  EXPECT_EQ(reply->error_code(), "overloaded");
  EXPECT_EQ(reply->header("retry-after"), "1");
  EXPECT_EQ(reply->header("retry-after-ms"), "1000");
}

TEST(ApiServer, ConcurrencyLimit_Refuses) {
  ApiOptions options;
  options.max_concurrent_requests = 1;
  ApiFixture fixture(options);
  fixture.post("/v1/chat/completions", kChat);
  const auto second = fixture.call("POST", "/v1/chat/completions", kChat);
  EXPECT_EQ(second->status, 503);
  EXPECT_EQ(second->error_code(), "overloaded");
}

TEST(ApiServer, Tokenize_TakesBothShapes) {
  ApiFixture fixture;
  EXPECT_EQ(fixture.post("/tokenize", R"({"prompt":"ab"})")->body,
            R"({"count":3,"max_model_len":1024,"tokens":[258,97,98],"token_strs":null})");
  EXPECT_EQ(fixture
                .post("/tokenize",
                      R"({"prompt":"a<eos>","add_special_tokens":false,"return_token_strs":true})")
                ->body,
            R"({"count":2,"max_model_len":1024,"tokens":[97,259],"token_strs":["a","<eos>"]})");
  EXPECT_EQ(fixture.post("/tokenize", R"({"messages":[{"role":"user","content":"a"}]})")->body,
            R"({"count":6,"max_model_len":1024,"tokens":[258,260,97,261,256,10],)"
            R"("token_strs":null})");
  EXPECT_EQ(fixture
                .post("/tokenize", R"({"messages":[{"role":"user","content":"a"}],
                                          "add_generation_prompt":false})")
                ->json()
                .at("count")
                .as_int64(),
            3);
  EXPECT_EQ(fixture.post("/detokenize", R"({"tokens":[97,259]})")->body, R"({"prompt":"a<eos>"})");
  EXPECT_EQ(fixture.post("/detokenize", R"({"tokens":[9999]})")->status, 400);
  EXPECT_EQ(fixture.post("/detokenize", R"({"tokens":"x"})")->status, 400);
  EXPECT_EQ(fixture.post("/tokenize", R"({})")->status, 400);
  EXPECT_EQ(fixture.post("/apply-template", kChat)->body,
            R"({"prompt":"<bos><｜User｜>hi<｜Assistant｜><think>\n"})");
}

TEST(ApiServer, WholeChatReply_HasEveryRequiredKey) {
  ApiFixture fixture;
  const auto reply = fixture.post("/v1/chat/completions", kChat);
  const uint64_t id = fixture.engine->requests[0].id;
  fixture.publish({text_event(id, TextChannel::kReasoning, "th")});
  fixture.publish({finish_event(id, FinishReason::kMaxTokens, {.num_output_tokens = 2})});
  const auto body = reply->json();
  EXPECT_EQ(reply->content_type, "application/json");
  EXPECT_EQ(body.at("object").as_string(), "chat.completion");
  EXPECT_EQ(body.at("model").as_string(), "tiny-r1");
  const auto& choice = body.at("choices").at(0).as_object();
  EXPECT_TRUE(choice.at("logprobs").is_null());
  EXPECT_EQ(choice.at("finish_reason").as_string(), "length");
  const auto& message = choice.at("message").as_object();
  EXPECT_EQ(message.at("content").as_string(), "") << "a string even if all was thinking";
  EXPECT_TRUE(message.at("refusal").is_null());
  EXPECT_EQ(message.at("reasoning_content").as_string(), "th");
  EXPECT_EQ(message.at("reasoning").as_string(), "th");
  EXPECT_FALSE(reply->header("openai-processing-ms").empty());
}

TEST(ApiServer, CrossSiteForms_AreRefused) {
  ApiFixture fixture;
  const auto reply =
      fixture.call("POST", "/v1/chat/completions", kChat,
                   {{"origin", "https://evil.example"}, {"content-type", "text/plain"}});
  ASSERT_TRUE(fixture.loop.run_until([&] { return reply->ended; }));
  EXPECT_EQ(reply->status, 415);
}

TEST(ApiServer, HttpMetrics_CountEveryExchangeOnce) {
  ApiFixture fixture;
  fixture.call("GET", "/health");
  fixture.call("GET", "/v1/models");
  fixture.call("GET", "/any/thing");
  const auto reply = fixture.post("/v1/chat/completions", kChat);
  const uint64_t id = fixture.engine->requests[0].id;
  fixture.publish({finish_event(id, FinishReason::kStopToken, {})});
  const std::string text = fixture.call("GET", "/metrics")->body;
  for (const char* line :
       {"http_requests_total{handler=\"/v1/models\",method=\"GET\",status=\"200\"} 1\n",
        "http_requests_total{handler=\"none\",method=\"GET\",status=\"404\"} 1\n",
        "http_requests_total{handler=\"/v1/chat/completions\",method=\"POST\",status=\"200\"} 1\n",
        "deepseek_requests_total 3\n", "deepseek_request_latency_seconds_count 3\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(ApiServer, ModelWithoutTemplate_SaysSoAndStillCompletes) {
  ApiFixture fixture(ApiOptions{}, false);
  ModelInfo info = test_model_info();
  info.chat_template = nullptr;
  fixture.server->set_ready(std::move(info), std::move(fixture.unused));
  const auto chat = fixture.post("/v1/chat/completions", kChat);
  EXPECT_EQ(chat->status, 400);
  EXPECT_NE(chat->error_message().find("chat template"), std::string::npos);
  EXPECT_FALSE(fixture.post("/v1/completions", R"({"prompt":"a"})")->ended);
}

}  // namespace
}  // namespace sparrow::api
