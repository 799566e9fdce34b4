// Many clients at once over real sockets, half of them leaving in every state a request can be in;
// readers that stop; many connections. Nothing may be left behind, nobody else may notice. This is
// the load that runs under the thread sanitizer.

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "api/engine_test_support.h"
#include "base/random.h"
#include "http/crowd_test_support.h"
#include "http/process_test_support.h"

namespace sparrow::api {
namespace {

const std::string kHealth = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

std::string chat_body(int user, int max_tokens, bool stream, const std::string& more = "") {
  return R"({"temperature":0,"ignore_eos":true,"max_tokens":)" + std::to_string(max_tokens) +
         R"(,"stream":)" + (stream ? "true" : "false") + more +
         R"(,"messages":[{"role":"user","content":"user )" + std::to_string(user) + " " +
         std::string(static_cast<size_t>(user * 7 % 90), 'w') + R"("}]})";
}

// A counter of the metrics page, over all labels.
double metric(FakeServer& server, const std::string& name) {
  http::TestClient client(server.port());
  client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  const std::string page = client.read_reply().body;
  double sum = 0;
  for (size_t at = 0; (at = page.find("\n" + name + "{", at)) != std::string::npos; ++at) {
    sum += std::strtod(page.c_str() + page.find("} ", at) + 2, nullptr);
  }
  return sum;
}

// How a client leaves.
enum class Leave {
  kAtOnce,
  kMidRequest,
  kAfterHead,
  kMidStream,
  kBehindLastToken,
  kHalfOpen,
  kNumWays
};

class StormTest : public ::testing::Test {
 protected:
  static constexpr int kNumUsers = 16;
  static constexpr int kMaxTokens = 30;

  static FakeServerOptions options() {
    FakeServerOptions options;
    options.fake.limits.num_slots = 5;     // so that most wait in the queue
    options.fake.limits.num_blocks = 256;  // so that some are preempted
    options.http.num_io_threads = 2;
    return options;
  }
  std::string request(int user, bool stream) {
    return FakeServer::post_text("/v1/chat/completions", chat_body(user, kMaxTokens, stream));
  }
  static std::string text_of(const http::TestReply& reply) {
    if (reply.status != 200 || !reply.complete) return "status " + std::to_string(reply.status);
    if (reply.body.front() == '{') {
      const auto body = json_of(reply.body);
      return body.at("choices").at(0).at("message").at("reasoning_content").as_string().c_str();
    }
    std::string text;
    for (size_t at = 0; (at = reply.body.find("data: {", at)) != std::string::npos;) {
      at += 6;
      const auto chunk = json_of(reply.body.substr(at, reply.body.find("\n\n", at) - at));
      const auto* part =
          chunk.at("choices").at(0).at("delta").as_object().if_contains("reasoning_content");
      if (part != nullptr) text += part->as_string().c_str();
    }
    return text;
  }

  void leave(Leave way, int user) {
    http::TestClient client(server_.port());
    const std::string bytes = request(user, way != Leave::kAtOnce || user % 2 == 0);
    if (way == Leave::kMidRequest) {
      client.send(bytes.substr(0, bytes.size() / 2));
    } else {
      client.send(bytes);
    }
    if (way == Leave::kAfterHead) client.read_until("\r\n\r\n");
    if (way == Leave::kMidStream) client.read_until("reasoning_content");
    if (way == Leave::kBehindLastToken) client.read_until("\"finish_reason\":\"length\"");
    if (way == Leave::kHalfOpen) client.finish_sending();
    user % 3 == 0 ? client.close() : client.reset();
  }

  FakeServer server_{options()};
};

TEST_F(StormTest, HalfOfAllLeave_NothingIsLeft_NobodysTextChanges) {
  const int num_requests = kUnderSanitizer ? 2'000 : 10'000;
  constexpr int kNumClients = 16;
  std::vector<std::string> alone;
  for (int user = 0; user < kNumUsers; ++user) {
    http::TestClient client(server_.port());
    client.send(request(user, false));
    alone.push_back(text_of(client.read_reply()));
    ASSERT_EQ(alone.back().size(), static_cast<size_t>(kMaxTokens)) << alone.back();
  }
  ASSERT_TRUE(http::eventually([&] { return server_.server().num_connections() == 0; }));
  const size_t num_files = num_open_files();
  std::atomic<int> next{0}, num_wrong{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < kNumClients; ++i) {
    clients.emplace_back([&] {
      for (int index = next++; index < num_requests; index = next++) {
        const uint64_t bits = random_bits(8, 0, static_cast<uint64_t>(index));
        const int user = static_cast<int>(bits % kNumUsers);
        if (index % 2 == 0) {
          leave(static_cast<Leave>((bits >> 16) % static_cast<uint64_t>(Leave::kNumWays)), user);
          continue;
        }
        http::TestClient client(server_.port());
        client.send(request(user, (bits >> 8) % 2 == 0));
        const http::TestReply reply = client.read_reply();
        if (text_of(reply) == alone[static_cast<size_t>(user)]) continue;
        if (++num_wrong < 5) ADD_FAILURE() << index << ": " << reply.status << " " << reply.body;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(num_wrong, 0);
  EXPECT_TRUE(server_.idle());
  EXPECT_TRUE(http::eventually([&] { return server_.server().num_connections() == 0; }));
  EXPECT_EQ(num_open_files(), num_files);
}

// Its stream is cut at the bound and its tokens are no longer computed; others are served.
TEST(SlowReader, Stops_StreamIsCutAndCancelled) {
  constexpr int kMaxTokens = 6'000;
  FakeServerOptions options;
  options.fake.limits.max_context_tokens = 8'192;
  options.fake.limits.num_blocks = 8'192;
  options.http.max_unsent_bytes = 256u << 10;
  FakeServer server(options);
  const std::string heavy = R"(,"logprobs":true,"top_logprobs":20)";  // some kilobytes per token
  http::TestClient slow(server.port(), "127.0.0.1", 4096);
  slow.send(FakeServer::post_text("/v1/chat/completions", chat_body(1, kMaxTokens, true, heavy)));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(server.post("/v1/chat/completions", chat_body(2, 10, false)).status, 200);
  }
  EXPECT_TRUE(server.idle());
  EXPECT_TRUE(http::eventually([&] { return server.server().num_connections() == 0; }));
  const double num_tokens = metric(server, "vllm:generation_tokens_total");
  EXPECT_GT(num_tokens, 200);
  EXPECT_LT(num_tokens, kMaxTokens);
  EXPECT_FALSE(slow.read_until("[DONE]"));
}

// A reader that stops and stays below the bound keeps its answer: it is all there later.
TEST(SlowReader, Pauses_EverythingArrives) {
  FakeServer server;
  http::TestClient slow(server.port(), "127.0.0.1", 4096);
  slow.send(FakeServer::post_text("/v1/chat/completions", chat_body(1, 400, true)));
  EXPECT_TRUE(server.idle());  // the engine never waits for a reader
  const http::TestReply reply = slow.read_reply();
  EXPECT_TRUE(reply.complete);
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n"));
}

// The short form of connections_bench.cc.
TEST(Connections, IdleOnesAndStreams_AllAlive_AllComplete) {
  constexpr size_t kNumIdle = 500, kNumStreams = 100;
  FakeServerOptions options;
  options.fake.limits.num_slots = 64;
  options.fake.limits.num_blocks = 4'096;
  FakeServer server(options);
  const size_t num_files = num_open_files();
  {
    http::Crowd idle(server.port()), streams(server.port());
    for (size_t i = 0; i < kNumIdle; ++i) ASSERT_TRUE(idle.add(kHealth)) << i;
    ASSERT_TRUE(idle.read_until_all(0, "\"ready\"}", std::chrono::seconds(20)));
    for (size_t i = 0; i < kNumStreams; ++i) {
      ASSERT_TRUE(streams.add(
          FakeServer::post_text("/v1/chat/completions", chat_body(static_cast<int>(i), 50, true))));
    }
    ASSERT_TRUE(
        streams.read_until_all(0, "data: [DONE]\n\n\r\n0\r\n\r\n", std::chrono::seconds(60)));
    EXPECT_EQ(server.server().num_connections(), kNumIdle + kNumStreams);
    for (size_t i = 0; i < kNumIdle; ++i) ASSERT_TRUE(idle.ask(i, kHealth)) << i;
    EXPECT_TRUE(idle.read_until_all(0, "\"ready\"}", std::chrono::seconds(20)));
    EXPECT_EQ(idle.num_ended() + streams.num_ended(), 0u);
  }
  EXPECT_TRUE(http::eventually([&] { return server.server().num_connections() == 0; }));
  EXPECT_EQ(num_open_files(), num_files);
  EXPECT_TRUE(server.idle());
}

}  // namespace
}  // namespace sparrow::api
