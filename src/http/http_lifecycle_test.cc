// Start, addresses, graceful stop, and responders that outlive the server.

#include <gtest/gtest.h>

#include <thread>

#include "http/http_server.h"
#include "http/test_client.h"
#include "http/test_fixture.h"

namespace sparrow::http {
namespace {

using HttpLifecycleTest = HttpServerTest;

Status start_status(ServerOptions options) {
  HttpServer server(
      options, [](auto, auto responder) { responder->send({}); },
      [](int status, std::string_view text) { return text_response(status, text); });
  return server.start();
}

TEST_F(HttpLifecycleTest, PortInUse_SaysSoAndWhatToDo) {
  start();
  ServerOptions options;
  options.port = port();
  const Status status = start_status(options);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.message().find("address already in use: 127.0.0.1:" + std::to_string(port())),
            std::string::npos);
  EXPECT_NE(status.message().find("choose another with --port"), std::string::npos);
}

TEST_F(HttpLifecycleTest, UnknownHost_IsAnError) {
  ServerOptions options;
  options.host = "no such host";
  options.port = 0;
  EXPECT_NE(start_status(options).message().find("--host"), std::string::npos);
}

TEST_F(HttpLifecycleTest, Addresses_AllInterfacesNamesAndV6) {
  for (const std::string host : {"0.0.0.0", "localhost", "127.0.0.1"}) {
    ServerOptions options;
    options.host = host;
    start(options);
    TestClient client(port());
    client.send(kGet);
    EXPECT_EQ(client.read_reply().status, 200) << host;
  }
  for (const std::string host : {"::1", "[::1]", "::"}) {
    ServerOptions options;
    options.host = host;
    options.port = 0;
    if (!start_status(options).ok()) GTEST_SKIP() << "no IPv6 here";
    start(options);
    TestClient client(port(), "::1");
    client.send(kGet);
    EXPECT_EQ(client.read_reply().status, 200) << host;
  }
}

TEST_F(HttpLifecycleTest, ExtraPort_SameHandler) {
  uint16_t free_port = 0;
  {
    start();
    free_port = port();
    server_.reset();
  }
  ServerOptions options;
  options.extra_ports = {free_port};
  start(options);
  TestClient client(free_port);
  client.send(kGet);
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(HttpLifecycleTest, LoopbackBind_ForeignHostRefused_AllowedHostServed) {
  ServerOptions options;
  options.allowed_hosts = {"chat.example"};
  start(options);
  for (const auto& [host, status] : {std::pair{"evil.example:8000", 403},
                                     {"chat.example", 200},
                                     {"localhost:1", 200},
                                     {"[::1]:8000", 200}}) {
    TestClient client(port());
    client.send("GET /echo HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n");
    EXPECT_EQ(client.read_reply().status, status) << host;
  }
}

TEST_F(HttpLifecycleTest, PublicBind_AnyHostServed) {
  ServerOptions options;
  options.host = "0.0.0.0";
  start(options);
  TestClient client(port());
  client.send("GET /echo HTTP/1.1\r\nHost: anything.example\r\n\r\n");
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(HttpLifecycleTest, Cors_NeverForPrivatePaths) {
  ServerOptions options;
  options.cors.allowed_origins = {"*"};
  options.cors.private_prefix = "/private";
  start(options);
  const std::string fields =
      "Host: localhost\r\nOrigin: https://chat.example\r\n"
      "Access-Control-Request-Method: POST\r\n\r\n";
  for (const std::string method : {"OPTIONS", "GET"}) {
    TestClient client(port());
    client.send(method + " /echo HTTP/1.1\r\n" + fields);
    EXPECT_EQ(client.read_reply().field("Access-Control-Allow-Origin"), "https://chat.example");
    client.send(method + " /%70rivate/x HTTP/1.1\r\n" + fields);
    const TestReply reply = client.read_reply();
    EXPECT_TRUE(reply.complete);
    EXPECT_EQ(reply.head.find("\r\nAccess-Control"), std::string::npos) << reply.head;
  }
}

TEST_F(HttpLifecycleTest, Cors_PreflightAndHeaders_OnlyForListedOrigins) {
  ServerOptions options;
  options.cors.allowed_origins = {"https://chat.example"};
  start(options);
  TestClient client(port());
  const std::string preflight =
      "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: https://chat.example\r\n"
      "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-stainless-os\r\n"
      "Access-Control-Request-Private-Network: true\r\n\r\n";
  client.send(preflight);
  TestReply reply = client.read_reply();
  EXPECT_EQ(reply.status, 204);
  EXPECT_EQ(reply.field("Access-Control-Allow-Origin"), "https://chat.example");
  EXPECT_EQ(reply.field("Access-Control-Allow-Headers"), "x-stainless-os");
  EXPECT_EQ(reply.field("Access-Control-Allow-Private-Network"), "true");
  EXPECT_EQ(num_handled_, 0);
  client.send(get("/echo", "Origin: https://chat.example\r\n"));
  reply = client.read_reply();
  EXPECT_EQ(reply.field("Access-Control-Allow-Origin"), "https://chat.example");
  EXPECT_NE(reply.field("Access-Control-Expose-Headers").find("x-request-id"), std::string::npos);
  client.send(get("/echo", "Origin: https://other.example\r\n"));
  reply = client.read_reply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.field("Access-Control-Allow-Origin"), "");
  // A browser page must be able to read why the server itself refused it.
  client.send(
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nOrigin: https://chat.example\r\n"
      "Content-Length: 999999999\r\n\r\n");
  reply = client.read_reply();
  EXPECT_EQ(reply.status, 413);
  EXPECT_EQ(reply.field("Access-Control-Allow-Origin"), "https://chat.example");
}

TEST_F(HttpLifecycleTest, StopAccepting_FinishesAnswers_ClosesIdle_RefusesNew) {
  start();
  TestClient idle(port()), busy(port());
  idle.send(kGet);
  EXPECT_EQ(idle.read_reply().status, 200);
  busy.send(get("/stream"));
  const auto held = take_held();
  server_->stop_accepting();
  EXPECT_TRUE(idle.wait_closed());
  EXPECT_TRUE(eventually([&] { return !TestClient(port()).connected(); }));
  on_loop(held, [&] {
    EXPECT_TRUE(held->write("data: to the end\n\n"));
    held->finish();
  });
  const TestReply reply = busy.read_reply();
  EXPECT_TRUE(reply.complete);
  EXPECT_EQ(reply.body, "data: to the end\n\n");
  EXPECT_TRUE(busy.wait_closed());
  busy.close();
  EXPECT_TRUE(no_connections());
  EXPECT_EQ(num_closed_, 0);
}

TEST_F(HttpLifecycleTest, StopAccepting_BeforeTheAnswer_SaysConnectionClose) {
  start();
  TestClient client(port());
  client.send(get("/hold"));
  const auto held = take_held();
  server_->stop_accepting();
  ASSERT_TRUE(eventually([&] { return !TestClient(port()).connected(); }));
  on_loop(held, [&] { held->send(text_response(200, "done")); });
  EXPECT_EQ(client.read_reply().field("Connection"), "close");
}

// A request that lay in the socket when the server began to drain is answered, not lost.
TEST_F(HttpLifecycleTest, StopAccepting_RequestAlreadySent_StillAnswered) {
  start();
  TestClient client(port());
  client.send(kGet);
  EXPECT_EQ(client.read_reply().status, 200);
  std::atomic<bool> sent{false};
  server_->loops()[0]->post([&] { EXPECT_TRUE(eventually([&] { return sent.load(); })); });
  server_->stop_accepting();  // queued behind the task that waits
  client.send(kGet);
  sent = true;
  EXPECT_EQ(client.read_reply().status, 200);
  EXPECT_TRUE(client.wait_closed());
}

TEST_F(HttpLifecycleTest, Stop_IdleServer_IsQuick) {
  start();
  TestClient idle(port());
  idle.send(kGet);
  idle.read_reply();
  const auto begin = std::chrono::steady_clock::now();
  server_->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(200));
  EXPECT_TRUE(idle.wait_closed());
}

TEST_F(HttpLifecycleTest, Stop_WithOpenStreams_OnCloseFires_RespondersStayUsable) {
  start();
  TestClient client(port());
  client.send(get("/stream"));
  auto held = take_held();
  server_->stop();
  EXPECT_EQ(num_closed_, 1);
  EXPECT_TRUE(client.wait_closed());
  held->loop().post([] { FAIL() << "ran after the stop"; });
  EXPECT_TRUE(held->closed());
  server_.reset();
  held.reset();  // the last owner of its loop
}

TEST_F(HttpLifecycleTest, Stop_WhileAnotherThreadPostsAndDrops_NothingLostOrRaced) {
  ServerOptions options;
  options.num_io_threads = 2;
  start(options);
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<TestClient>(port()));
    clients.back()->send(get("/stream"));
  }
  ASSERT_TRUE(eventually([&] { return num_handled_ == 20; }));
  std::atomic<bool> begun{false};
  std::thread producer([&] {
    for (int i = 0; i < 20; ++i) {
      auto held = take_held();
      for (int event = 0; event < 200; ++event) {
        held->loop().post([held] { held->write("data: x\n\n"); });
      }
      begun = true;
    }
  });
  ASSERT_TRUE(eventually([&] { return begun.load(); }));
  server_->stop_accepting();
  producer.join();
  server_->stop();
  server_.reset();
}

TEST_F(HttpLifecycleTest, Post_FromManyThreads_RunsAllInOrderOfEach) {
  start();
  IoLoop* loop = server_->loops()[0];
  constexpr int kNumThreads = 4, kNumTasks = 5000;
  std::vector<int> last(kNumThreads, -1);
  std::atomic<int> num_run{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kNumThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int task = 0; task < kNumTasks; ++task) {
        loop->post([&, thread, task] {
          EXPECT_EQ(last[static_cast<size_t>(thread)], task - 1);
          last[static_cast<size_t>(thread)] = task;
          ++num_run;
        });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(eventually([&] { return num_run == kNumThreads * kNumTasks; }));
}

}  // namespace
}  // namespace sparrow::http
