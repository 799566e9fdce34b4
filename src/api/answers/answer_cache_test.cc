// The answer cache as clients see it: the same reply without the engine, and never another's.

#include "api/answers/answer_cache.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <boost/json/serialize.hpp>
#include <filesystem>

#include "api/request/chat_request.h"
#include "api/stream/chat_format.h"
#include "api/test_support.h"
#include "http/test_client.h"

namespace sparrow::api {
namespace {

constexpr const char* kHeader = "x-sparrow-answer-cache";

class AnswerCacheTest : public ::testing::Test {
 protected:
  AnswerCacheTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sparrow_XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    options_.answer_cache.path = directory_ + "/answers.db";
    start();
  }
  ~AnswerCacheTest() override {
    fixture_.reset();
    std::filesystem::remove_all(directory_);
  }

  // A new server on the same file: what was stored before is on disk.
  void start() {
    fixture_.reset();
    fixture_ = std::make_unique<ApiFixture>(options_);
  }
  ScriptedEngine& engine() { return *fixture_->engine; }

  static std::string chat(const std::string& more, const std::string& question = "hi") {
    return R"({"messages":[{"role":"user","content":")" + question + "\"}]" + more + "}";
  }

  std::shared_ptr<Recorded> post(const std::string& body, http::Headers headers = {},
                                 const std::string& path = "/v1/chat/completions") {
    const size_t before = engine().requests.size();
    auto reply = fixture_->call("POST", path, body, std::move(headers));
    EXPECT_TRUE(fixture_->loop.run_until(
        [&] { return reply->ended || engine().requests.size() > before; }));
    return reply;
  }
  static ChoiceUsage usage(int num_prompt, int num_output) {
    return {.num_prompt_tokens = num_prompt,
            .num_cached_tokens = 2,
            .num_output_tokens = num_output,
            .num_reasoning_tokens = 5,
            .queue_time = Duration(10),
            .prefill_time = Duration(1'234'567),
            .decode_time = Duration(7'654'321)};
  }
  // What the engine says to the request it got last, in small events.
  void answer(FinishReason reason = FinishReason::kStopToken, const std::string& text = "Hello!") {
    const Request& request = engine().requests.back();
    for (int choice = 0; choice < request.num_choices; ++choice) {
      fixture_->publish({text_event(request.id, TextChannel::kReasoning, "thin", choice)});
      fixture_->publish({text_event(request.id, TextChannel::kReasoning, "k", choice)});
      for (const char c : text) {
        fixture_->publish(
            {text_event(request.id, TextChannel::kAnswer, std::string(1, c), choice)});
      }
      const int num_prompt = static_cast<int>(request.prompt.size());
      const int num_output = static_cast<int>(text.size()) + 6;
      fixture_->publish({finish_event(request.id, reason, usage(num_prompt, num_output), choice)});
    }
  }
  // Storing has a thread of its own: over when the cache's numbers say so.
  void wait_until_stored(uint64_t num_answers) {
    EXPECT_TRUE(http::eventually([&] { return num_stored() >= num_answers; }));
  }
  uint64_t num_stored() {
    AnswerStore store(options_.answer_cache);
    if (!store.open(unix_seconds()).ok()) return 0;
    const auto stats = store.stats();
    return stats.ok() ? static_cast<uint64_t>(stats->num_answers) : 0;
  }
  double metric(const std::string& name) {
    const std::string text = fixture_->metrics.render();
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }
  // Computes, stores, and returns the reply.
  std::shared_ptr<Recorded> compute(const std::string& body, http::Headers headers = {}) {
    const uint64_t before = num_stored();
    auto reply = post(body, std::move(headers));
    EXPECT_FALSE(reply->ended) << "answered without the engine: " << reply->body;
    answer();
    EXPECT_TRUE(reply->ended);
    wait_until_stored(before + 1);
    return reply;
  }
  bool is_hit(const std::string& body, http::Headers headers = {}) {
    const size_t before = engine().requests.size();
    const auto reply = post(body, std::move(headers));
    const bool from_cache = engine().requests.size() == before;
    if (!from_cache) answer();  // leaves nothing behind
    EXPECT_EQ(reply->header(kHeader) == "hit", from_cache) << reply->header(kHeader);
    return from_cache;
  }
  // A reply without what differs between any two: id and time.
  static std::string without_identity(std::string text) {
    for (const char* key : {"\"id\":\"", "\"created\":"}) {
      for (size_t at = 0; (at = text.find(key, at)) != std::string::npos;) {
        at += std::string_view(key).size();
        text.erase(at, text.find_first_of("\",", at) - at);
      }
    }
    return text;
  }
  // All text of a stream or a whole reply, thinking first.
  static std::string text_of(const Recorded& reply) {
    std::string thinking, content;
    const auto add = [&](const boost::json::object& part) {
      if (const auto* text = part.if_contains("reasoning_content")) {
        if (text->is_string()) thinking += text->as_string().c_str();
      }
      if (const auto* text = part.if_contains("content")) content += text->as_string().c_str();
    };
    if (reply.content_type.find("json") != std::string::npos) {
      add(reply.json().at("choices").at(0).at("message").as_object());
      return thinking + "|" + content;
    }
    for (size_t at = 0; (at = reply.body.find("data: {", at)) != std::string::npos;) {
      at += 6;
      const auto chunk = json_of(reply.body.substr(at, reply.body.find("\n\n", at) - at));
      const auto& choices = chunk.at("choices").as_array();
      if (!choices.empty()) add(choices[0].at("delta").as_object());
    }
    return thinking + "|" + content;
  }

  std::string directory_;
  ApiOptions options_;
  std::unique_ptr<ApiFixture> fixture_;
};

TEST_F(AnswerCacheTest, AHit_IsTheSameReply_WholeOrStreamed_AlsoAfterARestart) {
  const std::string greedy = R"(,"temperature":0)";
  const auto original = compute(chat(greedy));
  EXPECT_EQ(original->header(kHeader), "store");
  for (int round = 0; round < 2; ++round) {
    const auto hit = post(chat(greedy));
    ASSERT_TRUE(hit->ended);
    EXPECT_EQ(hit->status, 200);
    EXPECT_EQ(hit->header(kHeader), "hit");
    EXPECT_EQ(without_identity(hit->body), without_identity(original->body));
    EXPECT_NE(hit->json().at("id"), original->json().at("id"));

    const auto streamed =
        post(chat(greedy + R"(,"stream":true,"stream_options":{"include_usage":true})"));
    ASSERT_TRUE(streamed->ended);
    EXPECT_EQ(streamed->header(kHeader), "hit");
    EXPECT_EQ(streamed->content_type, "text/event-stream; charset=utf-8");
    EXPECT_TRUE(streamed->body.ends_with("data: [DONE]\n\n"));
    EXPECT_EQ(text_of(*streamed), "think|Hello!");
    EXPECT_EQ(text_of(*streamed), text_of(*original));
    const std::string usage = boost::json::serialize(original->json().at("usage"));
    EXPECT_NE(streamed->body.find("\"usage\":" + usage), std::string::npos) << usage;
    start();
  }
  EXPECT_TRUE(engine().requests.empty()) << "the second server never asked its engine";
  EXPECT_EQ(fixture_->server->num_active(), 0);
}

TEST_F(AnswerCacheTest, AStoredStream_AnswersAWholeRequest) {
  const std::string seeded = R"(,"seed":7)";
  const auto original = compute(chat(seeded + R"(,"stream":true)"));
  const auto whole = post(chat(seeded));
  ASSERT_TRUE(whole->ended);
  EXPECT_EQ(text_of(*whole), text_of(*original));
  EXPECT_EQ(whole->json().at("usage").at("completion_tokens").as_int64(), 12);
  EXPECT_EQ(whole->json().at("choices").at(0).at("finish_reason").as_string(), "stop");
}

TEST_F(AnswerCacheTest, LogprobsChoicesAndTokenIds_ComeBackToo) {
  const std::string more =
      R"(,"seed":3,"n":2,"logprobs":true,"top_logprobs":1,"return_token_ids":true)";
  const auto original = compute(chat(more));
  const auto hit = post(chat(more));
  ASSERT_TRUE(hit->ended);
  EXPECT_EQ(without_identity(hit->body), without_identity(original->body));
  EXPECT_FALSE(is_hit(chat(R"(,"seed":3,"n":2,"return_token_ids":true)"))) << "without logprobs";
}

TEST_F(AnswerCacheTest, Completions_OfSeveralPrompts_AreOneAnswer) {
  const std::string path = "/v1/completions";
  const std::string body = R"({"prompt":"one","temperature":0,"max_tokens":9})";
  const auto original = post(body, {}, path);
  answer(FinishReason::kMaxTokens);
  wait_until_stored(1);
  const auto hit = post(body, {}, path);
  ASSERT_TRUE(hit->ended);
  EXPECT_EQ(without_identity(hit->body), without_identity(original->body));
  EXPECT_EQ(hit->json().at("choices").at(0).at("finish_reason").as_string(), "length");
  const auto echoed =
      post(R"({"prompt":"one","temperature":0,"max_tokens":9,"echo":true})", {}, path);
  ASSERT_TRUE(echoed->ended) << "echo is the format's business";
  EXPECT_NE(echoed->body.find("onethinkHello!"), std::string::npos) << echoed->body;
  const auto two = post(R"({"prompt":["one","one"],"temperature":0,"max_tokens":9})", {}, path);
  EXPECT_FALSE(two->ended) << "another request than its parts";
}

TEST_F(AnswerCacheTest, AnyOtherField_Misses) {
  const std::string seeded = R"(,"seed":7)";
  compute(chat(seeded));
  for (const char* field :
       {R"(,"seed":8)", R"(,"seed":7,"temperature":0.61)", R"(,"seed":7,"temperature":0)",
        R"(,"seed":7,"top_p":0.9)", R"(,"seed":7,"top_k":5)", R"(,"seed":7,"min_p":0.1)",
        R"(,"seed":7,"repetition_penalty":1.1)", R"(,"seed":7,"presence_penalty":0.1)",
        R"(,"seed":7,"frequency_penalty":0.1)", R"(,"seed":7,"logit_bias":{"5":1})",
        R"(,"seed":7,"max_tokens":20)", R"(,"seed":7,"stop":"x")", R"(,"seed":7,"n":2)",
        R"(,"seed":7,"min_tokens":1)", R"(,"seed":7,"ignore_eos":true)",
        R"(,"seed":7,"stop_token_ids":[5])", R"(,"seed":7,"logprobs":true)",
        R"(,"seed":7,"reasoning_effort":"none")", R"(,"seed":7,"skip_special_tokens":false)"}) {
    EXPECT_FALSE(is_hit(chat(field))) << field;
  }
  EXPECT_FALSE(is_hit(chat(seeded, "hj")));
  EXPECT_FALSE(is_hit(chat(seeded, "hi ")));
  EXPECT_TRUE(is_hit(chat(seeded)));
}

TEST_F(AnswerCacheTest, AnotherModel_Misses) {
  compute(chat(R"(,"temperature":0)"));
  start();
  ModelInfo info = test_model_info();
  info.fingerprint = "other weights";
  fixture_ = std::make_unique<ApiFixture>(options_, false);
  auto port = std::make_unique<ScriptedEngine>();
  fixture_->engine = port.get();
  fixture_->server->set_ready(info, std::move(port));
  EXPECT_FALSE(is_hit(chat(R"(,"temperature":0)")));
}

TEST_F(AnswerCacheTest, SampledRequestsWithoutASeed_AreNeverKept) {
  for (int round = 0; round < 2; ++round) {
    const auto reply = post(chat(""));
    EXPECT_FALSE(reply->ended);
    answer();
    EXPECT_EQ(reply->header(kHeader), "miss") << "only the list could have answered";
  }
  EXPECT_FALSE(is_hit(chat(R"(,"temperature":0.6)")));
  EXPECT_EQ(num_stored(), 0u);
}

TEST_F(AnswerCacheTest, Off_NeitherLooksNorKeeps) {
  const http::Headers off = {{"x-sparrow-cache", "off"}};
  compute(chat(R"(,"temperature":0)"));
  const auto reply = post(chat(R"(,"temperature":0)"), off);
  EXPECT_FALSE(reply->ended);
  answer();
  EXPECT_EQ(reply->header(kHeader), "");
  EXPECT_FALSE(is_hit(chat(R"(,"seed":1)"), off));
  EXPECT_FALSE(is_hit(chat(R"(,"seed":1)")));
  const auto wrong = post(chat(""), {{"x-sparrow-cache", "of"}});
  EXPECT_EQ(wrong->status, 400);
}

TEST_F(AnswerCacheTest, ErrorsDeadlinesAndHangUps_AreNeverKept) {
  for (const FinishReason reason : {FinishReason::kDeadline, FinishReason::kNotFinite,
                                    FinishReason::kError, FinishReason::kNoMemory}) {
    const auto reply = post(chat(R"(,"temperature":0,"stream":true)"));
    ASSERT_FALSE(reply->ended);
    answer(reason);
    EXPECT_TRUE(reply->ended);
  }
  const auto gone = post(chat(R"(,"temperature":0,"stream":true)"));
  fixture_->publish({text_event(engine().requests.back().id, TextChannel::kAnswer, "He")});
  gone->closed = true;
  gone->on_close();
  EXPECT_EQ(engine().cancelled.back(), engine().requests.back().id);
  EXPECT_FALSE(is_hit(chat(R"(,"temperature":0)")));
}

TEST_F(AnswerCacheTest, TimeToLive_EndsAnAnswer) {
  compute(chat(R"(,"temperature":0)"));
  EXPECT_TRUE(is_hit(chat(R"(,"temperature":0)")));
  fixture_->clock.advance(std::chrono::hours(24 * 7 - 1));
  EXPECT_TRUE(is_hit(chat(R"(,"temperature":0)")));
  fixture_->clock.advance(std::chrono::hours(2));
  EXPECT_FALSE(is_hit(chat(R"(,"temperature":0)")));
}

TEST_F(AnswerCacheTest, Metrics_CountWhatHappened) {
  compute(chat(R"(,"temperature":0)"));
  EXPECT_TRUE(is_hit(chat(R"(,"temperature":0)")));
  EXPECT_TRUE(is_hit(chat(R"(,"temperature":0)")));
  EXPECT_EQ(metric("sparrow_answer_cache_hits_total"), 2);
  EXPECT_EQ(metric("sparrow_answer_cache_misses_total"), 1);
  EXPECT_EQ(metric("sparrow_answer_cache_evictions_total"), 0);
  EXPECT_TRUE(http::eventually([&] { return metric("sparrow_answer_cache_bytes") > 100; }));
}

TEST_F(AnswerCacheTest, TheOperatorsList_AnswersEverySpellingWithOpenSampling) {
  const http::Headers warm = {{"x-sparrow-cache", "warm"}};
  fixture_->remote_address = "127.0.0.1";
  const std::string question = "What is 1 + 1?";
  EXPECT_FALSE(is_hit(chat("", question)));
  compute(chat("", question), warm);
  EXPECT_TRUE(is_hit(chat("", question), warm)) << "already there: nothing to compute";
  EXPECT_TRUE(is_hit(chat("", question)));
  EXPECT_TRUE(is_hit(chat("", "  What is  1 + 1 ")));
  EXPECT_TRUE(is_hit(chat(R"(,"stream":true)", "What is １ + 1？")));
  EXPECT_TRUE(is_hit(chat(R"(,"max_tokens":12)", question)));
  EXPECT_FALSE(is_hit(chat(R"(,"max_tokens":11)", question))) << "longer than the client allows";
  EXPECT_FALSE(is_hit(chat("", "what is 1 + 1?")));
  for (const char* field :
       {R"(,"temperature":0.6)", R"(,"temperature":0)", R"(,"seed":1)", R"(,"top_p":0.95)",
        R"(,"n":2)", R"(,"stop":"x")", R"(,"logprobs":true)", R"(,"reasoning_effort":"none")"}) {
    EXPECT_FALSE(is_hit(chat(field, question))) << field;
  }
}

// The ladder's third step: what the list holds is better than a message.
TEST_F(AnswerCacheTest, UnderOverload_TheListAnswersInsteadOfTheEngine) {
  fixture_->remote_address = "127.0.0.1";
  compute(chat(""), {{"x-sparrow-cache", "warm"}});
  engine().state.num_running = 1;
  engine().state.oldest_wait_ms = 1e6;
  for (int i = 0; i < 2; ++i) {
    fixture_->call("GET", "/metrics");
    fixture_->clock.advance(from_ms(2000));
  }
  const std::string chosen = R"(,"temperature":0.6,"top_p":0.95)";  // the model's own defaults
  const size_t num_computed = engine().requests.size();
  const auto known = post(chat(chosen));
  EXPECT_EQ(known->header("x-sparrow-degraded"), "cached_answer");
  EXPECT_EQ(known->json().at("choices").at(0).at("message").at("content").as_string(), "Hello!");
  EXPECT_EQ(post(chat(chosen, "else"))->header("x-sparrow-degraded"), "message");
  EXPECT_EQ(engine().requests.size(), num_computed);
}

TEST_F(AnswerCacheTest, AnAnswerCutAtALimit_DoesNotEnterTheList) {
  fixture_->remote_address = "127.0.0.1";
  post(chat(R"(,"max_tokens":5)"), {{"x-sparrow-cache", "warm"}});
  answer(FinishReason::kMaxTokens);
  EXPECT_FALSE(is_hit(chat("")));
  EXPECT_EQ(num_stored(), 0u);
}

TEST_F(AnswerCacheTest, OnlyTheOperator_MayAddToTheList) {
  const auto status_of = [&](const std::string& address, http::Headers headers) {
    fixture_->remote_address = address;
    headers.emplace_back("x-sparrow-cache", "warm");
    const auto reply = post(chat(""), std::move(headers));
    if (reply->ended) return reply->status;
    answer();
    return 200;
  };
  EXPECT_EQ(status_of("10.0.0.9", {}), 403);
  EXPECT_EQ(status_of("127.0.0.1", {{"x-forwarded-for", "10.0.0.9"}}), 403) << "through a proxy";
  EXPECT_EQ(status_of("127.0.0.1", {{"forwarded", "for=10.0.0.9"}}), 403);
  EXPECT_EQ(status_of("127.0.0.1", {}), 200);
  EXPECT_EQ(status_of("::1", {}), 200);
  options_.api_keys = {"key"};
  start();
  EXPECT_EQ(status_of("127.0.0.1", {{"authorization", "Bearer key"}}), 403) << "no admin key";
  options_.api_keys = {};
  start();
  fixture_->remote_address = "127.0.0.1";
  const auto seeded = post(chat(R"(,"seed":1)"), {{"x-sparrow-cache", "warm"}});
  EXPECT_EQ(seeded->status, 400) << "a list's answer is for open sampling";
}

TEST_F(AnswerCacheTest, AFileThatCannotBeUsed_CostsOnlyTheCache) {
  options_.answer_cache.path = directory_ + "/missing/answers.db";
  start();
  for (int round = 0; round < 2; ++round) {
    const auto reply = post(chat(R"(,"temperature":0)"));
    ASSERT_FALSE(reply->ended);
    answer();
    EXPECT_EQ(reply->status, 200);
    EXPECT_EQ(reply->header(kHeader), "miss");
  }
}

TEST_F(AnswerCacheTest, ALongAnswer_IsReplayedInPieces) {
  const std::string stream = R"(,"temperature":0,"stream":true)";
  post(chat(stream));
  const uint64_t id = engine().requests.back().id;
  const std::string part(500, 'x');
  for (int i = 0; i < 300; ++i) fixture_->publish({text_event(id, TextChannel::kAnswer, part)});
  fixture_->publish({finish_event(id, FinishReason::kStopToken, usage(7, 150'000))});
  wait_until_stored(0);
  EXPECT_EQ(num_stored(), 0u) << "300 kB with its tokens is above the bound of one answer";

  post(chat(stream));
  const uint64_t second = engine().requests.back().id;
  for (int i = 0; i < 120; ++i) fixture_->publish({text_event(second, TextChannel::kAnswer, part)});
  fixture_->publish({finish_event(second, FinishReason::kStopToken, usage(7, 60'000))});
  wait_until_stored(1);
  const auto hit = post(chat(stream));
  ASSERT_TRUE(hit->ended);
  EXPECT_EQ(text_of(*hit).size(), 120u * 500 + 1);
  EXPECT_GT(hit->writes.size(), 2u);
  for (const std::string& bytes : hit->writes) EXPECT_LE(bytes.size(), 40u << 10);

  auto gone = fixture_->call("POST", "/v1/chat/completions", chat(stream));
  fixture_->loop.run_until([&] { return !gone->writes.empty(); });
  gone->closed = true;
  fixture_->loop.run_ready();
  EXPECT_FALSE(gone->ended) << "nothing is written to a client that left";
  EXPECT_TRUE(engine().cancelled.empty());
  EXPECT_EQ(fixture_->server->num_active(), 0);
}

// The parts below the server: who is asking, degraded answers, the overloaded server's question.
class ConsultTest : public AnswerCacheTest {
 protected:
  ConsultTest() : model_(test_model_info(), SystemRole::kFold), keys_({}) {
    cache_ = std::make_unique<AnswerCache>(options_.answer_cache, clock_, metrics_);
  }

  PreparedGeneration prepare(const std::string& more) {
    ChatRequest chat_request;
    ChatPrompt prompt;
    const boost::json::object body = json_of(chat(more)).as_object();
    EXPECT_FALSE(parse_chat_request(body, model_, {}, chat_request).has_value());
    EXPECT_FALSE(build_chat_prompt(chat_request.turn, model_, prompt).has_value());
    EXPECT_FALSE(set_max_tokens(model_, 7, 1000, chat_request.params).has_value());
    PreparedGeneration prepared;
    Request request;
    request.id = next_id_++;
    request.prompt = prompt.tokens;
    request.sampling = chat_request.params.sampling;
    request.stop = chat_request.params.stop;
    prepared.requests.push_back(std::move(request));
    prepared.answers.hints = read_answer_hints(body);
    add_conversation(chat_request.turn, prepared.answers.hints);
    Reply reply;
    reply.tokenizer = &model_.tokenizer();
    prepared.format = std::make_unique<ChatWholeFormat>(std::move(reply), ChatFormatOptions{});
    return prepared;
  }
  PreparedGeneration consult(const std::string& more, const std::string& tenant,
                             bool warm = false) {
    PreparedGeneration prepared = prepare(more);
    http::Request request;
    request.remote_address = "127.0.0.1";
    if (warm) request.headers = {{"x-sparrow-cache", "warm"}};
    Caller caller;
    caller.tenant = tenant;
    caller.cache_salt = "changes from start to start";
    EXPECT_FALSE(cache_->consult(request, keys_, caller, model_, prepared).has_value());
    return prepared;
  }
  // Runs what was prepared to its end.
  void run(PreparedGeneration prepared) {
    const uint64_t before = num_stored();
    const uint64_t id = prepared.requests.front().id;
    auto recorded = std::make_shared<Recorded>();
    Generation generation(std::move(prepared),
                          std::make_shared<RecordingResponder>(loop_, recorded), port_, clock_,
                          ActiveTicket(state_));
    EXPECT_TRUE(generation.submit(nullptr));
    generation.on_event(text_event(id, TextChannel::kAnswer, "Hello!"));
    generation.on_event(finish_event(id, FinishReason::kStopToken, usage(7, 6)));
    header_ = recorded->header(kHeader);
    if (header_ == "store") wait_until_stored(before + 1);
  }

  FakeClock clock_;
  MetricsRegistry metrics_;
  ServedModel model_;
  ApiKeys keys_;
  ManualLoop loop_;
  ScriptedEngine port_;
  ApiState state_;
  std::unique_ptr<AnswerCache> cache_;
  std::string header_;
  uint64_t next_id_ = 1;
};

TEST_F(ConsultTest, Tenants_DoNotShareAnswers_ButTheOperatorsList) {
  run(consult(R"(,"temperature":0)", "anna"));
  EXPECT_TRUE(consult(R"(,"temperature":0)", "anna").answers.replay.has_value());
  EXPECT_FALSE(consult(R"(,"temperature":0)", "bert").answers.replay.has_value());
  EXPECT_FALSE(consult(R"(,"temperature":0)", "").answers.replay.has_value());
  run(consult("", "operator", true));
  EXPECT_TRUE(consult("", "anna").answers.replay.has_value());
  EXPECT_TRUE(consult("", "bert").answers.replay.has_value());
}

TEST_F(ConsultTest, ADegradedAnswer_IsNotKept) {
  PreparedGeneration prepared = consult(R"(,"temperature":0)", "");
  prepared.headers.emplace_back("x-sparrow-degraded", "max_tokens");
  run(std::move(prepared));
  EXPECT_EQ(header_, "miss");
  EXPECT_FALSE(consult(R"(,"temperature":0)", "").answers.replay.has_value());
}

TEST_F(ConsultTest, UnderOverload_TheListAlsoServesWhoWroteItsOwnValues) {
  run(consult("", "", true));
  const std::string chosen = R"(,"temperature":0.6,"top_p":0.95)";  // the model's own defaults
  const PreparedGeneration written = consult(chosen, "anna");
  EXPECT_FALSE(written.answers.replay.has_value()) << "who chooses gets a fresh answer";
  const auto similar = cache_->find_similar(written);
  ASSERT_TRUE(similar.has_value());
  EXPECT_EQ(similar->front().text, "Hello!");
  EXPECT_FALSE(cache_->find_similar(consult(R"(,"temperature":0.7)", "")).has_value());
  EXPECT_FALSE(cache_->find_similar(consult(R"(,"seed":5)", "")).has_value());
  EXPECT_FALSE(cache_->find_similar(consult(R"(,"temperature":0)", "")).has_value());
  EXPECT_FALSE(cache_->find_similar(consult(chosen + R"(,"max_tokens":5)", "")).has_value());
}

TEST_F(AnswerCacheTest, Hit_IsARequestOfItsKey) {
  options_.admission.key_limits.requests_per_minute = 3;
  start();
  compute(chat(R"(,"temperature":0)"));
  const auto hit = post(chat(R"(,"temperature":0)"));
  EXPECT_EQ(hit->header(kHeader), "hit");
  EXPECT_EQ(hit->header("x-ratelimit-remaining-requests"), "1");
  EXPECT_EQ(post(chat(R"(,"temperature":0)"))->status, 200);
  const auto refused = post(chat(R"(,"temperature":0)"));
  EXPECT_EQ(refused->status, 429);
  EXPECT_EQ(refused->error_code(), "rate_limit_exceeded");
}

// A kept answer is many times larger on the wire when it has logprobs: a slow reader gets it in
// pieces, each after the one before.
TEST_F(AnswerCacheTest, LongHit_WaitsForASlowReader) {
  const std::string body =
      chat(R"(,"temperature":0,"logprobs":true,"return_token_ids":true,"max_tokens":900)");
  auto original = post(body);
  answer(FinishReason::kStopToken, std::string(800, 'a'));
  ASSERT_TRUE(original->ended);
  wait_until_stored(1);
  const std::string streamed = chat(
      R"(,"temperature":0,"logprobs":true,"return_token_ids":true,"max_tokens":900,"stream":true)");
  auto slow = fixture_->call("POST", "/v1/chat/completions", streamed);
  slow->reads_slowly = true;
  int num_turns = 0;
  while (!slow->ended) {
    const size_t before = slow->writes.size();
    ASSERT_TRUE(fixture_->loop.run_until([&] { return slow->ended || slow->when_sent; }));
    fixture_->loop.run_ready();
    EXPECT_LE(slow->writes.size(), before + 1) << "went on though nothing was read";
    for (const std::string& piece : slow->writes) EXPECT_LE(piece.size(), 40u << 10);
    if (slow->when_sent) std::exchange(slow->when_sent, nullptr)();
    ASSERT_LT(++num_turns, 1000);
  }
  EXPECT_GE(num_turns, 1) << "65 kB in pieces of 32 and a part";
  EXPECT_EQ(slow->header(kHeader), "hit");
  EXPECT_TRUE(slow->body.ends_with("data: [DONE]\n\n"));
}

}  // namespace
}  // namespace sparrow::api
