// What a client sees of admission: statuses, headers, shortened requests, messages. The engine is
// scripted, so its load is whatever the test says.

#include "api/api_server.h"
#include "api/test_support.h"

namespace sparrow::api {
namespace {

const std::string kChat = R"({"messages":[{"role":"user","content":"hi"}]})";

class AdmissionApiTest : public ::testing::Test {
 protected:
  void make(ApiOptions options = {}) {
    fixture_ = std::make_unique<ApiFixture>(std::move(options));
  }
  void SetUp() override { make(); }

  std::shared_ptr<Recorded> post(const std::string& path, const std::string& body,
                                 http::Headers headers = {}) {
    const size_t before = engine().requests.size();
    engine().state.num_steps += 2;  // what came before has reached the engine
    auto reply = fixture_->call("POST", path, body, std::move(headers));
    EXPECT_TRUE(fixture_->loop.run_until(
        [&] { return reply->ended || engine().requests.size() > before; }));
    return reply;
  }
  std::shared_ptr<Recorded> chat(http::Headers headers = {}, const std::string& fields = "") {
    return post("/v1/chat/completions",
                R"({"messages":[{"role":"user","content":"hi"}])" + fields + "}",
                std::move(headers));
  }
  const Request& last_request() { return engine().requests.back(); }
  // The answer of the request in work, with as many tokens as bytes.
  void answer(const std::string& text) {
    const uint64_t id = last_request().id;
    ChoiceUsage usage;
    usage.num_output_tokens = static_cast<int>(text.size());
    fixture_->publish({text_event(id, TextChannel::kAnswer, text),
                       finish_event(id, FinishReason::kStopToken, usage)});
  }
  // A load under which a newcomer waits about `seconds` for its first token.
  void set_wait(double seconds) {
    LoadSnapshot& load = engine().state;
    load.max_num_running = load.num_running = 1;
    load.mean_output_tokens = 10;
    load.has_step_cost = true;
    load.step_fixed_ms = seconds * 100;
  }
  // Pressure that has lasted until the next request finds the ladder on `level`.
  void set_level(int level) {
    engine().state.num_running = 1;
    engine().state.oldest_wait_ms = 1e6;
    for (int i = 1; i < level; ++i) {
      metrics();
      fixture_->clock.advance(from_ms(2000));
    }
  }
  std::string metrics() { return fixture_->call("GET", "/metrics")->body; }
  void expect_metric(const std::string& line) {
    const std::string text = metrics();
    EXPECT_NE(text.find(line + "\n"), std::string::npos) << line << "\n" << text;
  }
  ScriptedEngine& engine() { return *fixture_->engine; }

  std::unique_ptr<ApiFixture> fixture_;
};

TEST_F(AdmissionApiTest, CountingTokens_IsARequestOfTheKeyAndNothingElse) {
  ApiOptions options;
  options.admission.key_limits = {
      .requests_per_minute = 3, .tokens_per_minute = 600, .max_concurrent = 1};
  make(options);
  chat({}, R"(,"max_tokens":200)");  // holds the key's one place and 200 tokens and more
  const auto counted = post("/tokenize", R"({"prompt":"hi"})");
  EXPECT_EQ(counted->status, 200);
  EXPECT_EQ(counted->header("x-ratelimit-remaining-requests"), "1");
  EXPECT_EQ(post("/detokenize", R"({"tokens":[104]})")->status, 200);
  const auto refused = post("/tokenize", R"({"prompt":"hi"})");
  EXPECT_EQ(refused->status, 429);
  EXPECT_EQ(refused->error_code(), "rate_limit_exceeded");
  EXPECT_EQ(refused->header("retry-after"), "20");
  expect_metric("sparrow_rejected_total{reason=\"requests_per_minute\"} 1");
  fixture_->clock.advance(std::chrono::seconds(20));
  EXPECT_EQ(post("/tokenize", R"({"prompt":"hi"})")->status, 200);
}

TEST_F(AdmissionApiTest, LongWait_Is503WithTheTimeToComeBack) {
  set_wait(90);
  const auto reply = chat();
  EXPECT_EQ(reply->status, 503);
  EXPECT_EQ(reply->error_code(), "overloaded");
  const int seconds = std::stoi(reply->header("retry-after"));
  const int ms = std::stoi(reply->header("retry-after-ms"));
  EXPECT_GE(ms, 30'000) << "what is beyond the minute that anybody may wait";
  EXPECT_EQ(seconds, (ms + 999) / 1000);
  EXPECT_EQ(reply->header("x-should-retry"), "true");
  EXPECT_TRUE(engine().requests.empty());
  expect_metric("sparrow_rejected_total{reason=\"predicted_wait\"} 1");
}

TEST_F(AdmissionApiTest, WaitBeyondTheClientsTime_IsRefusedAtOnce) {
  set_wait(20);
  for (const auto& [name, value] : http::Headers{{"x-request-timeout-ms", "15000"},
                                                 {"x-stainless-read-timeout", "15"},
                                                 {"x-stainless-timeout", "15.0"}}) {
    const auto reply = chat({{name, value}});
    EXPECT_EQ(reply->status, 503) << name;
    EXPECT_EQ(reply->error_code(), "deadline_unreachable");
    EXPECT_FALSE(reply->header("retry-after").empty());
  }
  EXPECT_FALSE(chat({{"x-request-timeout-ms", "60000"}})->ended);
  EXPECT_FALSE(chat({{"x-stainless-read-timeout", "600"}})->ended);
  for (const char* nonsense : {"", "soon", "-5", "0", "nan", "inf", "1e99", "15 "}) {
    EXPECT_FALSE(chat({{"x-request-timeout-ms", nonsense}})->ended) << nonsense;
  }
  expect_metric("sparrow_rejected_total{reason=\"deadline\"} 3");
}

TEST_F(AdmissionApiTest, ImpossibleDeadline_TellsNotToRetry) {
  LoadSnapshot& load = engine().state;
  load.max_num_running = 1;
  load.has_step_cost = true;
  load.step_row_ms = 100;  // seven tokens of prompt
  EXPECT_FALSE(chat({{"x-request-timeout-ms", "200"}})->ended) << "idle: it is tried";
  load.num_running = 1;
  const auto reply = chat({{"x-request-timeout-ms", "200"}});
  EXPECT_EQ(reply->status, 503);
  EXPECT_EQ(reply->header("x-should-retry"), "false");
}

TEST_F(AdmissionApiTest, Timeouts_BecomeDeadlines) {
  fixture_->clock.advance(from_ms(500));
  const TimePoint now = fixture_->clock.now();
  chat({{"x-request-timeout-ms", "3000"}});
  EXPECT_EQ(last_request().total_deadline, now + from_ms(3000));
  EXPECT_EQ(last_request().first_token_deadline, now + from_ms(3000));
  EXPECT_EQ(last_request().queue_deadline, now + from_ms(3000));
  // Nobody reads anything of a whole answer before its end, of a stream from the first token on.
  chat({{"x-stainless-read-timeout", "60"}});
  EXPECT_EQ(last_request().total_deadline, now + from_ms(60'000));
  chat({{"x-stainless-read-timeout", "60"}}, R"(,"stream":true)");
  EXPECT_FALSE(last_request().total_deadline);
  EXPECT_EQ(last_request().first_token_deadline, now + from_ms(60'000));
  chat({{"x-stainless-read-timeout", "60"}, {"x-request-timeout-ms", "9000"}}, R"(,"stream":true)");
  EXPECT_EQ(last_request().total_deadline, now + from_ms(9000));
  EXPECT_EQ(last_request().first_token_deadline, now + from_ms(9000));
  chat();
  EXPECT_FALSE(last_request().queue_deadline);
}

TEST_F(AdmissionApiTest, DeadlineThatPasses_Is503BeforeTheFirstByteAndAnEventAfterIt) {
  const auto waiting = chat({}, R"(,"stream":true)");
  fixture_->publish({finish_event(last_request().id, FinishReason::kDeadline, {})});
  EXPECT_EQ(waiting->status, 503);
  EXPECT_EQ(waiting->error_code(), "deadline_unreachable");
  EXPECT_FALSE(waiting->header("retry-after").empty());
  const auto streaming = chat({}, R"(,"stream":true)");
  fixture_->publish({text_event(last_request().id, TextChannel::kReasoning, "th")});
  fixture_->publish({finish_event(last_request().id, FinishReason::kDeadline, {})});
  EXPECT_EQ(streaming->status, 200);
  EXPECT_NE(streaming->body.find(R"("code":"deadline_unreachable")"), std::string::npos);
  EXPECT_TRUE(streaming->body.ends_with("data: [DONE]\n\n"));
}

TEST_F(AdmissionApiTest, RequestsPerMinute_Are429WithOpenAisHeaders) {
  ApiOptions options;
  options.admission.key_limits.requests_per_minute = 2;
  make(options);
  const auto first = chat();
  answer("ok");
  EXPECT_EQ(first->status, 200);
  EXPECT_EQ(first->header("x-ratelimit-limit-requests"), "2");
  EXPECT_EQ(first->header("x-ratelimit-remaining-requests"), "1");
  EXPECT_EQ(first->header("x-ratelimit-reset-requests"), "30s");
  EXPECT_EQ(first->header("x-ratelimit-limit-tokens"), "") << "not limited";
  chat();
  const auto refused = chat();
  EXPECT_EQ(refused->status, 429);
  EXPECT_EQ(refused->error_code(), "rate_limit_exceeded");
  EXPECT_EQ(refused->header("retry-after"), "30");
  EXPECT_EQ(refused->header("retry-after-ms"), "30000");
  EXPECT_EQ(refused->header("x-should-retry"), "true");
  EXPECT_EQ(refused->header("x-ratelimit-remaining-requests"), "0");
  EXPECT_EQ(refused->header("x-ratelimit-reset-requests"), "1m0s");
  expect_metric("sparrow_rejected_total{reason=\"requests_per_minute\"} 1");
  fixture_->clock.advance(from_ms(30'000));
  EXPECT_FALSE(chat()->ended) << "as it was told";
}

TEST_F(AdmissionApiTest, TokensPerMinute_AreCorrectedByTheEnd) {
  ApiOptions options;
  options.admission.key_limits.tokens_per_minute = 600;
  make(options);
  const auto first = chat({}, R"(,"max_tokens":193)");  // 7 tokens of prompt
  answer("twenty tokens of it.");
  EXPECT_EQ(first->header("x-ratelimit-limit-tokens"), "600");
  EXPECT_EQ(first->header("x-ratelimit-remaining-tokens"), "400");
  EXPECT_EQ(first->header("x-ratelimit-reset-tokens"), "20s");
  const auto second = chat({}, R"(,"max_tokens":193)");
  answer("x");
  EXPECT_EQ(second->header("x-ratelimit-remaining-tokens"), "373") << "27 were used";
  const auto hung_up = chat({}, R"(,"max_tokens":293)");
  EXPECT_EQ(chat({}, R"(,"max_tokens":493)")->status, 429);
  ASSERT_TRUE(hung_up->on_close);
  hung_up->on_close();
  const auto large = chat({}, R"(,"max_tokens":493)");
  EXPECT_FALSE(large->ended) << "what was never computed is given back";
}

TEST_F(AdmissionApiTest, ConcurrentPerKey_Is429UntilOneEnds) {
  ApiOptions options;
  options.admission.key_limits.max_concurrent = 1;
  make(options);
  chat();
  const auto refused = chat();
  EXPECT_EQ(refused->status, 429);
  EXPECT_EQ(refused->header("x-ratelimit-limit-requests"), "");
  answer("done");
  EXPECT_FALSE(chat()->ended);
}

TEST_F(AdmissionApiTest, OpenBreaker_Is503AtOnce) {
  engine().state.breaker = BreakerState::kOpen;
  engine().state.breaker_retry_at = fixture_->clock.now() + from_ms(4200);
  const auto reply = chat();
  EXPECT_EQ(reply->status, 503);
  EXPECT_EQ(reply->error_code(), "overloaded");
  EXPECT_EQ(reply->header("retry-after"), "5");
  EXPECT_EQ(reply->header("retry-after-ms"), "4200");
  expect_metric("sparrow_breaker_state 1");
  // It opened between the decision and the engine.
  engine().state.breaker_retry_at = fixture_->clock.now();
  engine().refusal = unavailable("computing fails");
  const auto late = chat();
  EXPECT_EQ(late->status, 503);
  EXPECT_EQ(late->error_code(), "overloaded");
  expect_metric("sparrow_rejected_total{reason=\"breaker_open\"} 2");
}

TEST_F(AdmissionApiTest, QueueOfTheEngineFull_IsCounted) {
  engine().refusal = resource_exhausted("The queue is full.");
  EXPECT_EQ(chat()->status, 503);
  expect_metric("sparrow_rejected_total{reason=\"queue_full\"} 1");
}

TEST_F(AdmissionApiTest, LimitConcurrency_IsCounted) {
  ApiOptions options;
  options.max_concurrent_requests = 1;
  make(options);
  chat();
  EXPECT_EQ(chat()->status, 503);
  expect_metric("sparrow_rejected_total{reason=\"concurrency\"} 1");
}

TEST_F(AdmissionApiTest, FirstLevels_ShortenWhatIsOpenAndSaySo) {
  ApiOptions options;
  options.admission.degradation.thinking_budget = 100;
  options.admission.degradation.max_tokens = 300;
  options.admission.degradation.answer_reserve = 120;
  make(options);
  const auto calm = chat();
  EXPECT_EQ(last_request().reasoning.max_tokens, -1);
  answer("x");
  EXPECT_EQ(calm->header("x-sparrow-degraded"), "");

  engine().state.num_running = 1;
  engine().state.oldest_wait_ms = 1e6;
  const auto first = chat();
  EXPECT_EQ(last_request().reasoning.max_tokens, 100);
  EXPECT_EQ(last_request().stop.max_tokens, 1017);
  answer("x");
  EXPECT_EQ(first->header("x-sparrow-degraded"), "thinking_budget");
  fixture_->clock.advance(from_ms(2000));
  const auto second = chat();
  EXPECT_EQ(last_request().stop.max_tokens, 300);
  EXPECT_EQ(last_request().reasoning.answer_reserve, 120);
  EXPECT_EQ(last_request().sampling.temperature, 0.6);
  answer("x");
  EXPECT_EQ(second->header("x-sparrow-degraded"), "thinking_budget, max_tokens");
  EXPECT_EQ(second->status, 200);
  expect_metric("sparrow_degraded_total{action=\"thinking_budget\"} 2");
  expect_metric("sparrow_degraded_total{action=\"max_tokens\"} 1");
}

TEST_F(AdmissionApiTest, Gentle_LeavesAloneWhatIsWritten) {
  set_level(2);
  const auto reply = chat({}, R"(,"max_tokens":900,"thinking_budget":700,"temperature":0.9)");
  EXPECT_EQ(last_request().stop.max_tokens, 900);
  EXPECT_EQ(last_request().reasoning.max_tokens, 700);
  EXPECT_EQ(last_request().sampling.temperature, 0.9);
  answer("x");
  EXPECT_EQ(reply->header("x-sparrow-degraded"), "");
}

TEST_F(AdmissionApiTest, Article_CapsEverybody) {
  ApiOptions options;
  options.admission.degradation.profile = DegradeProfile::kArticle;
  make(options);
  engine().state.num_running = 1;
  engine().state.oldest_wait_ms = 1e6;
  const auto reply = chat({}, R"(,"max_tokens":900,"temperature":0.9)");
  EXPECT_EQ(last_request().stop.max_tokens, 512);
  EXPECT_EQ(last_request().sampling.temperature, 0.3);
  EXPECT_EQ(last_request().reasoning.answer_reserve, 256);
  answer("x");
  EXPECT_EQ(reply->header("x-sparrow-degraded"), "thinking_budget, max_tokens, temperature");
}

TEST_F(AdmissionApiTest, ThirdLevel_IsAMessageInTheClientsLanguage) {
  set_level(3);
  const auto english = chat();
  EXPECT_EQ(english->status, 200);
  EXPECT_EQ(english->header("x-sparrow-degraded"), "message");
  const auto choice = english->json().at("choices").at(0).as_object();
  EXPECT_EQ(choice.at("finish_reason").as_string(), "stop");
  EXPECT_NE(std::string(choice.at("message").at("content").as_string().c_str()).find("try again"),
            std::string::npos);
  EXPECT_EQ(english->json().at("usage").at("completion_tokens").as_int64(), 0);

  const auto chinese =
      post("/v1/chat/completions",
           R"({"messages":[{"role":"user","content":"你好"}],"n":2,"stream":true})");
  EXPECT_EQ(chinese->status, 200);
  EXPECT_EQ(chinese->header("x-sparrow-degraded"), "message");
  EXPECT_NE(chinese->body.find("请过一两分钟再试"), std::string::npos) << chinese->body;
  EXPECT_NE(chinese->body.find(R"("index":1)"), std::string::npos);
  EXPECT_TRUE(chinese->body.ends_with("data: [DONE]\n\n"));
  EXPECT_TRUE(chinese->ended);
  EXPECT_TRUE(engine().requests.empty());
  const auto raw = post("/v1/completions", R"({"prompt":"a"})");
  EXPECT_EQ(raw->status, 503) << "a message is no continuation of a text";
  EXPECT_EQ(raw->header("x-sparrow-degraded"), "refused");
  EXPECT_EQ(fixture_->server->num_active(), 0);
  expect_metric("sparrow_degraded_total{action=\"message\"} 2");
}

TEST_F(AdmissionApiTest, ThirdLevel_SaysWhatTheOperatorWrote) {
  ApiOptions options;
  options.degrade_message = "Geschlossen: ask \"Anna\" (4711)";
  make(options);
  set_level(3);
  for (const char* question : {"hi", "你好"}) {
    const auto reply = post("/v1/chat/completions", R"({"messages":[{"role":"user","content":")" +
                                                        std::string(question) + R"("}]})");
    const auto choice = reply->json().at("choices").at(0).as_object();
    EXPECT_EQ(choice.at("message").at("content").as_string(), options.degrade_message.c_str());
    EXPECT_EQ(reply->header("x-sparrow-degraded"), "message");
  }
}

TEST_F(AdmissionApiTest, LeftOutMessages_GoFromShortAnswersToRefusal) {
  ApiOptions options;
  options.admission.degradation.message_severity = 0;
  make(options);
  set_level(3);
  const auto refused = chat();
  EXPECT_EQ(refused->status, 503);
  expect_metric("sparrow_degradation_level 4");
}

TEST_F(AdmissionApiTest, FourthLevel_RefusesAndRecovers) {
  set_level(4);
  const auto refused = chat();
  EXPECT_EQ(refused->status, 503);
  EXPECT_EQ(refused->error_code(), "overloaded");
  EXPECT_FALSE(refused->header("retry-after").empty());
  EXPECT_EQ(refused->header("x-sparrow-degraded"), "refused");
  expect_metric("sparrow_rejected_total{reason=\"degraded\"} 1");
  expect_metric("sparrow_degradation_level 4");
  engine().state.oldest_wait_ms = 0;
  for (int i = 0; i < 30; ++i) {
    metrics();
    fixture_->clock.advance(from_ms(1000));
  }
  expect_metric("sparrow_degradation_level 0");
  EXPECT_FALSE(chat()->ended);
}

TEST_F(AdmissionApiTest, MoreAnswersThanEverFit_Is400WithTheNumber) {
  ApiOptions options;
  options.admission.max_num_queued_reqs = 2;
  make(options);
  engine().state.max_num_running = 1;
  const auto refused = chat({}, R"(,"n":4)");
  EXPECT_EQ(refused->status, 400);
  EXPECT_EQ(refused->header("x-should-retry"), "false");
  EXPECT_NE(refused->body.find("at most 3 at once"), std::string::npos) << refused->body;
  EXPECT_FALSE(chat({}, R"(,"n":3)")->ended);
}

TEST_F(AdmissionApiTest, ThinkingBudget_HasManyNames) {
  for (const char* field : {R"(,"thinking_budget":50)", R"(,"thinking_token_budget":50)",
                            R"(,"thinking_budget_tokens":50)", R"(,"reasoning_budget_tokens":50)",
                            R"(,"chat_template_kwargs":{"thinking_budget":50})",
                            R"(,"thinking_budget":50,"reasoning_effort":"high")"}) {
    EXPECT_FALSE(chat({}, field)->ended) << field;
    EXPECT_EQ(last_request().reasoning.max_tokens, 50) << field;
    EXPECT_EQ(last_request().reasoning.closing, (std::vector<TokenId>{kTestThinkEnd, '\n', '\n'}));
    EXPECT_EQ(last_request().reasoning.answer_reserve, 256);
  }
  chat({}, R"(,"reasoning_effort":"low","max_tokens":200)");
  EXPECT_EQ(last_request().reasoning.max_tokens, 1024);
  EXPECT_EQ(last_request().reasoning.answer_reserve, 100) << "at most half";
  for (const char* field : {"", R"(,"thinking_budget":-1)", R"(,"reasoning_effort":"xhigh")"}) {
    chat({}, field);
    EXPECT_EQ(last_request().reasoning.max_tokens, -1) << field;
    EXPECT_EQ(last_request().reasoning.answer_reserve, 0) << field;
  }
  chat({}, R"(,"thinking_budget":0)");
  EXPECT_FALSE(last_request().reasoning.starts_inside) << "no thinking at all";
  for (const char* field :
       {R"(,"thinking_budget":-2)", R"(,"thinking_budget":1.5)", R"(,"thinking_budget":"5")",
        R"(,"chat_template_kwargs":{"thinking_budget":"x"})",
        R"(,"chat_template_kwargs":{"thinking_budget":-2})", R"(,"reasoning_effort":"huge")"}) {
    const auto reply = chat({}, field);
    EXPECT_EQ(reply->status, 400) << field;
  }
}

}  // namespace
}  // namespace sparrow::api
