// The API over a real socket and the real engine, on the fake executor: what one client sees does
// not depend on the others, and nothing is left behind.

#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "api/api_server.h"
#include "api/test_support.h"
#include "engine/engine_thread.h"
#include "http/http_server.h"
#include "http/test_client.h"
#include "model/fake_executor.h"

namespace sparrow::api {
namespace {

class ApiEngineTest : public ::testing::Test {
 protected:
  ApiEngineTest() {
    FakeExecutorOptions fake;
    fake.limits.num_blocks = 2048;
    fake.limits.num_slots = 16;
    fake.limits.max_context_tokens = 1024;
    fake.limits.vocab_size = kTestVocab;
    fake.first_token = 'a';  // readable text, no special tokens
    fake.num_tokens = 26;
    executor_ = std::make_unique<FakeExecutor>(fake);
    tokenizer_ = api_test_tokenizer();
    engine_ = std::make_unique<Engine>(*executor_, *tokenizer_, EngineOptions{}, &metrics_);
    engine_thread_ = std::make_unique<EngineThread>(*engine_, clock_);
    engine_thread_->start();
    api_ = std::make_unique<ApiServer>(ApiOptions{}, metrics_);
    api_->set_ready(test_model_info(), *engine_);
    http::ServerOptions options;
    options.port = 0;
    server_ =
        std::make_unique<http::HttpServer>(options, api_->handler(), ApiServer::protocol_error);
    const Status status = server_->start();
    EXPECT_TRUE(status.ok()) << status.message();
  }
  ~ApiEngineTest() override {
    engine_thread_->stop();
    server_->stop();
    api_->stop();
  }

  std::string request_text(const std::string& path, const std::string& body) {
    return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  http::TestReply post(const std::string& path, const std::string& body) {
    http::TestClient client(server_->port());
    EXPECT_TRUE(client.send(request_text(path, body)));
    return client.read_reply();
  }
  static std::string chat_body(int user, bool stream) {
    return R"({"temperature":0,"ignore_eos":true,"max_tokens":40,"stream":)" +
           std::string(stream ? "true" : "false") +
           R"(,"messages":[{"role":"user","content":"user )" + std::to_string(user) + R"("}]})";
  }
  static std::string reasoning_of(const http::TestReply& reply) {
    const auto body = json_of(reply.body);
    return body.at("choices").at(0).at("message").at("reasoning_content").as_string().c_str();
  }
  static std::string streamed_reasoning(const std::string& body) {
    std::string text;
    for (size_t at = 0; (at = body.find("data: {", at)) != std::string::npos;) {
      at += 6;
      const auto chunk = json_of(body.substr(at, body.find("\n\n", at) - at));
      const auto* part =
          chunk.at("choices").at(0).at("delta").as_object().if_contains("reasoning_content");
      if (part != nullptr) text += part->as_string().c_str();
    }
    return text;
  }
  bool idle() {
    return http::eventually([this] {
      const EngineSnapshot now = engine_->snapshot();
      return api_->num_active() == 0 && now.num_running == 0 && now.num_waiting == 0 &&
             now.num_blocks_live == 0;
    });
  }

  RealClock clock_;
  MetricsRegistry metrics_;
  std::unique_ptr<FakeExecutor> executor_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<EngineThread> engine_thread_;
  std::unique_ptr<ApiServer> api_;
  std::unique_ptr<http::HttpServer> server_;
};

TEST_F(ApiEngineTest, Chat_UsageAndTextAreExact) {
  const http::TestReply reply = post("/v1/chat/completions", chat_body(0, false));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const auto body = json_of(reply.body);
  EXPECT_EQ(body.at("usage").at("completion_tokens").as_int64(), 40);
  EXPECT_EQ(body.at("usage").at("completion_tokens_details").at("reasoning_tokens").as_int64(), 40);
  EXPECT_EQ(body.at("choices").at(0).at("finish_reason").as_string(), "length");
  EXPECT_EQ(reasoning_of(reply).size(), 40u);
  EXPECT_TRUE(idle());
}

// `delta` of every chunk, or the whole message: text under `field`.
std::string joined(const std::string& body, const char* field) {
  std::string text;
  for (size_t at = 0; (at = body.find("data: {", at)) != std::string::npos;) {
    at += 6;
    const auto chunk = json_of(body.substr(at, body.find("\n\n", at) - at));
    if (chunk.at("choices").as_array().empty()) continue;
    const auto* part = chunk.at("choices").at(0).at("delta").as_object().if_contains(field);
    if (part != nullptr) text += part->as_string().c_str();
  }
  return text;
}

TEST_F(ApiEngineTest, ThinkingBudget_CutsStreamAndWholeReplyAlike) {
  const auto body = [](const char* budget, const char* more) {
    return std::string(R"({"temperature":0,"ignore_eos":true,"max_tokens":60,)") + budget + more +
           R"("messages":[{"role":"user","content":"user"}]})";
  };
  const char* const path = "/v1/chat/completions";
  const std::string free = reasoning_of(post(path, body("", "")));
  ASSERT_EQ(free.size(), 60u);
  const char* const kBudget = R"("thinking_budget":10,)";
  const auto whole = json_of(post(path, body(kBudget, "")).body);
  const auto& message = whole.at("choices").at(0).at("message");
  EXPECT_EQ(message.at("reasoning_content").as_string(), free.substr(0, 10));
  EXPECT_EQ(message.at("content").as_string().size(), 60u - 10 - 3);
  EXPECT_EQ(whole.at("usage").at("completion_tokens").as_int64(), 60);
  EXPECT_EQ(whole.at("usage").at("completion_tokens_details").at("reasoning_tokens").as_int64(),
            11);
  const std::string stream =
      post(path, body(kBudget, R"("stream":true,"stream_options":{"include_usage":true},)")).body;
  EXPECT_EQ(joined(stream, "reasoning_content"), message.at("reasoning_content").as_string());
  EXPECT_EQ(joined(stream, "content"), message.at("content").as_string());
  EXPECT_NE(stream.find(R"("completion_tokens":60)"), std::string::npos);
  EXPECT_NE(stream.find(R"("reasoning_tokens":11)"), std::string::npos);
  EXPECT_TRUE(idle());
}

TEST_F(ApiEngineTest, ConcurrentStreams_EqualTheSameRequestsAlone) {
  constexpr int kUsers = 24;
  std::vector<std::string> alone(kUsers);
  for (int user = 0; user < kUsers; user += 2) {
    alone[user] = reasoning_of(post("/v1/chat/completions", chat_body(user, false)));
    EXPECT_EQ(alone[user].size(), 40u);
  }
  std::vector<std::string> together(kUsers);
  std::vector<std::thread> users;
  for (int user = 0; user < kUsers; ++user) {
    users.emplace_back([&, user] {
      if (user % 2 == 0) {
        const auto reply = post("/v1/chat/completions", chat_body(user, true));
        EXPECT_EQ(reply.status, 200);
        EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
        together[user] = streamed_reasoning(reply.body);
        return;
      }
      http::TestClient client(server_->port());  // hangs up in the middle
      client.send(request_text("/v1/chat/completions", chat_body(user, true)));
      client.read_until("delta");
      client.reset();
    });
  }
  for (std::thread& user : users) user.join();
  for (int user = 0; user < kUsers; user += 2) EXPECT_EQ(together[user], alone[user]) << user;
  EXPECT_TRUE(idle());
}

TEST_F(ApiEngineTest, StopString_CutsTheTextBeforeIt) {
  const std::string prompt =
      R"({"prompt":"Once","temperature":0,"ignore_eos":true,"max_tokens":30)";
  const auto whole = json_of(post("/v1/completions", prompt + "}").body);
  const std::string text = whole.at("choices").at(0).at("text").as_string().c_str();
  ASSERT_EQ(text.size(), 30u);
  const std::string stop = text.substr(10, 3);
  const auto cut = json_of(post("/v1/completions", prompt + R"(,"stop":")" + stop + "\"}").body);
  EXPECT_EQ(cut.at("choices").at(0).at("text").as_string(), text.substr(0, text.find(stop)));
  EXPECT_EQ(cut.at("choices").at(0).at("finish_reason").as_string(), "stop");
}

TEST_F(ApiEngineTest, StoppedEngine_EndsStreamsWithAnError) {
  http::TestClient client(server_->port());
  client.send(request_text(
      "/v1/chat/completions",
      R"({"messages":[{"role":"user","content":"hi"}],"ignore_eos":true,"stream":true})"));
  ASSERT_TRUE(client.read_until("reasoning_content"));
  api_->begin_drain();
  engine_->abort_all(FinishReason::kCancelled);
  EXPECT_TRUE(client.read_until("data: [DONE]"));
  // Either it was cut, or its 1,000 tokens were already computed.
  const bool cut = client.received().find("\"code\":\"draining\"") != std::string::npos;
  const bool complete = client.received().find("\"finish_reason\":\"length\"") != std::string::npos;
  EXPECT_TRUE(cut || complete) << client.received();
  EXPECT_TRUE(idle());
}

}  // namespace
}  // namespace sparrow::api
