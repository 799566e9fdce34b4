// What a hostile or broken client can do to the server: every limit is reached once.

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <ctime>
#include <thread>

#include "http/http_server.h"
#include "http/process_test_support.h"
#include "http/test_client.h"
#include "http/test_fixture.h"

namespace sparrow::http {
namespace {

using HttpLimitsTest = HttpServerTest;

ServerOptions impatient() {
  ServerOptions options;
  options.header_timeout = milliseconds(80);
  options.body_timeout = milliseconds(80);
  options.keep_alive_timeout = milliseconds(120);
  options.write_timeout = milliseconds(150);
  return options;
}

TEST_F(HttpLimitsTest, Refusals_AnswerAndClose_WithoutAHandler) {
  ServerOptions options;
  options.max_header_bytes = 4096;
  options.max_body_bytes = 1000;
  start(options);
  const std::string head = "POST /echo HTTP/1.1\r\nHost: localhost\r\n";
  const std::pair<std::string, int> cases[] = {
      {"GET /echo HTTP/1.1\r\nx: " + std::string(1 << 20, 'a'), 431},
      {"GET /" + std::string(1 << 20, 'a'), 414},
      {head + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400},
      {head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {head + "Content-Length: 1001\r\n\r\n", 413},
      {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
      {head + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", 413},
      {head + "Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx", 417},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET /echo HTTP/1.1\r\n\r\n", 400},
      {"\x16\x03\x01 tls", 400},
  };
  for (const auto& [bytes, status] : cases) {
    TestClient client(port());
    client.send(bytes);
    const TestReply reply = client.read_reply();
    EXPECT_EQ(reply.status, status) << bytes.substr(0, 80);
    EXPECT_EQ(reply.field("Connection"), "close");
    EXPECT_EQ(reply.body.substr(0, 9), "refused: ");
    EXPECT_TRUE(client.wait_closed());
  }
  EXPECT_EQ(num_handled_, 0);
  EXPECT_TRUE(no_connections());
}

TEST_F(HttpLimitsTest, HundredMegabyteBody_RefusedWithoutReadingIt) {
  start();
  TestClient client(port());
  client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n");
  EXPECT_EQ(client.read_reply().status, 413);  // nothing of the body was sent
  // A client that sends it all the same still gets to read the answer.
  TestClient eager(port());
  eager.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n");
  const std::string megabyte(1 << 20, 'x');
  for (int i = 0; i < 100 && eager.send(megabyte); ++i) {
  }
  EXPECT_EQ(eager.read_reply().status, 413);
  EXPECT_EQ(num_handled_, 0);
}

TEST_F(HttpLimitsTest, LargeBody_InOneByteChunks_Arrives) {
  start();
  TestClient client(port());
  std::string chunks;
  constexpr int kNumBytes = 100'000;
  for (int i = 0; i < kNumBytes; ++i) chunks += "1\r\nx\r\n";
  client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
  ASSERT_TRUE(client.send(chunks + "0\r\n\r\n"));
  EXPECT_EQ(client.read_reply().body, "POST /echo  " + std::string(kNumBytes, 'x'));
}

TEST_F(HttpLimitsTest, TotalBodies_OverTheBound_FiveOhThree_ThenRecovers) {
  ServerOptions options;
  options.max_total_body_bytes = 100'000;
  start(options);
  TestClient first(port()), second(port());
  const std::string head =
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 80000\r\n\r\n";
  first.send(head + std::string(60'000, 'a'));
  second.send(head + std::string(60'000, 'b'));
  TestClient* refused = &second;
  TestClient* served = &first;
  if (!second.read_until("503")) std::swap(refused, served);
  EXPECT_TRUE(refused->read_until("HTTP/1.1 503"));
  EXPECT_TRUE(refused->wait_closed());
  served->send(std::string(20'000, 'c'));
  EXPECT_EQ(served->read_reply().status, 200);
  for (int i = 0; i < 3; ++i) {  // what was counted is given back
    served->send(head + std::string(80'000, 'd'));
    EXPECT_EQ(served->read_reply().status, 200);
  }
}

// Large bodies pay for a full house, not whoever sends next.
TEST_F(HttpLimitsTest, TotalBodies_AlmostFull_SmallOnesAreServed) {
  ServerOptions options;
  options.max_total_body_bytes = 1'600'000;  // the last 200,000 are for small bodies
  start(options);
  const auto head = [](size_t size) {
    return "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(size) +
           "\r\n\r\n";
  };
  TestClient holder(port()), small(port()), large(port());
  holder.send(head(1'400'000) + std::string(1'390'000, 'a'));  // and then keeps it
  ASSERT_TRUE(eventually([&] { return server_->num_body_bytes() >= 1'390'000; }));
  large.send(head(300'000) + std::string(300'000, 'b'));
  EXPECT_TRUE(large.read_until("HTTP/1.1 503"));
  for (int i = 0; i < 3; ++i) {
    small.send(head(40'000) + std::string(40'000, 'c'));
    EXPECT_EQ(small.read_reply().status, 200);
  }
  holder.send(std::string(10'000, 'd'));
  EXPECT_EQ(holder.read_reply().status, 200) << "what was let in is finished";
}

TEST_F(HttpLimitsTest, SlowHeader_FourOhEight) {
  start(impatient());
  TestClient client(port());
  client.send("GET /echo HT");
  EXPECT_EQ(client.read_reply().status, 408);
  EXPECT_TRUE(client.wait_closed());
}

TEST_F(HttpLimitsTest, DripOfHeaderBytes_DoesNotExtendTheDeadline) {
  start(impatient());
  TestClient client(port());
  const auto begin = std::chrono::steady_clock::now();
  client.set_timeout(milliseconds(10));  // each read waits 10 ms and then a byte is sent
  std::string fields = "GET /echo HTTP/1.1\r\nx: ";
  client.send(fields);
  while (!client.read_until("HTTP/1.1 408") &&
         std::chrono::steady_clock::now() - begin < std::chrono::seconds(10)) {
    client.send("a");
  }
  EXPECT_NE(client.received().find("HTTP/1.1 408"), std::string::npos);
}

TEST_F(HttpLimitsTest, SlowBody_FourOhEight) {
  start(impatient());
  TestClient client(port());
  client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(client.read_reply().status, 408);
  EXPECT_TRUE(client.wait_closed());
  EXPECT_EQ(num_handled_, 0);
}

TEST_F(HttpLimitsTest, SilentClient_Closed) {
  start(impatient());
  TestClient client(port());
  EXPECT_TRUE(client.wait_closed());
  EXPECT_EQ(client.received(), "");
}

TEST_F(HttpLimitsTest, IdleKeepAlive_Closed_ButNotAHeldAnswer) {
  start(impatient());
  TestClient idle(port()), waiting(port());
  waiting.send(get("/hold"));
  const auto held = take_held();
  idle.send(kGet);
  EXPECT_EQ(idle.read_reply().status, 200);
  EXPECT_TRUE(idle.wait_closed());
  // By now every deadline of a reading connection has passed for the waiting one too.
  on_loop(held, [&] { held->send(text_response(200, "late but fine")); });
  EXPECT_EQ(waiting.read_reply().body, "late but fine");
}

TEST_F(HttpLimitsTest, SlowReader_DroppedAtTheBound) {
  ServerOptions options;
  options.max_unsent_bytes = 256u << 10;
  start(options);
  TestClient client(port(), "127.0.0.1", 4096);
  client.send(get("/stream"));
  const auto held = take_held();
  const std::string event = "data: " + std::string(64u << 10, 'x') + "\n\n";
  size_t num_accepted = 0;
  on_loop(held, [&] {
    // The kernel's buffers take a few MB at most; then the bound holds.
    while (num_accepted < 1000 && held->write(event)) ++num_accepted;
    EXPECT_FALSE(held->write(event));
    EXPECT_TRUE(held->closed());
  });
  EXPECT_LT(num_accepted, 1000u);
  EXPECT_TRUE(eventually([&] { return num_closed_ == 1; }));
  EXPECT_TRUE(no_connections());
}

// Who waits for the kernel between two pieces can send any length to a slow reader.
TEST_F(HttpLimitsTest, SlowReader_WhenSentPacesTheWriter) {
  ServerOptions options;
  options.max_unsent_bytes = 256u << 10;
  start(options);
  TestClient client(port(), "127.0.0.1", 4096);
  client.send(get("/stream"));
  const auto held = take_held();
  constexpr int kNumPieces = 300;  // 19 MB: more than any socket buffer
  std::atomic<int> num_written{0};
  std::function<void()> write_next = [&] {
    EXPECT_TRUE(held->write("data: " + std::string(64u << 10, 'x') + "\n\n"));
    if (++num_written < kNumPieces) return held->when_sent(write_next);
    held->write("data: end\n\n");
    held->finish();
  };
  held->loop().post(write_next);
  EXPECT_TRUE(client.read_until("data: end"));
  EXPECT_EQ(num_written, kNumPieces);
}

TEST_F(HttpLimitsTest, WhenSent_IsCalledThoughTheClientLeft) {
  start();
  TestClient client(port(), "127.0.0.1", 4096);
  client.send(get("/stream"));
  const auto held = take_held();
  std::atomic<int> num_called{0};
  on_loop(held, [&] {
    for (int i = 0; i < 12; ++i) held->write(std::string(64u << 10, 'x'));
    held->when_sent([&] { ++num_called; });
  });
  client.reset();
  EXPECT_TRUE(eventually([&] { return num_called == 1; }));
  EXPECT_TRUE(no_connections());
}

TEST_F(HttpLimitsTest, StalledReader_DroppedAfterTheWriteTimeout) {
  ServerOptions options = impatient();
  options.max_unsent_bytes = 16u << 20;
  start(options);
  TestClient client(port(), "127.0.0.1", 4096);
  client.send(get("/stream"));
  const auto held = take_held();
  const std::string event = "data: " + std::string(64u << 10, 'x') + "\n\n";
  on_loop(held, [&] {
    // Fills the kernel's buffers and leaves less than max_unsent_bytes with us.
    for (int i = 0; i < 100 && held->write(event); ++i) {
    }
  });
  EXPECT_TRUE(eventually([&] { return num_closed_ == 1; }));
  EXPECT_TRUE(no_connections());
}

TEST_F(HttpLimitsTest, SlowReader_OthersAreNotHeldUp) {
  ServerOptions options;
  options.max_unsent_bytes = 16u << 20;
  start(options);
  TestClient slow(port(), "127.0.0.1", 4096), other(port());
  slow.send(get("/stream"));
  const auto held = take_held();
  on_loop(held, [&] { held->write(std::string(2u << 20, 'x')); });
  for (int i = 0; i < 50; ++i) {
    other.send(kGet);
    ASSERT_EQ(other.read_reply().status, 200);
  }
}

TEST_F(HttpLimitsTest, PipeliningWithoutReading_IsBounded_AndThenAllAnswered) {
  start();
  TestClient client(port(), "127.0.0.1", 4096);
  const std::string request = post("/echo", std::string(20'000, 'x'));
  constexpr int kNumRequests = 200;  // 4 MB of answers, far more than is queued ahead
  std::thread sender([&] {
    for (int i = 0; i < kNumRequests; ++i) {
      TestClient* unread = &client;
      ASSERT_TRUE(unread->send(request));
    }
  });
  sender.join();
  for (int i = 0; i < kNumRequests; ++i) {
    ASSERT_EQ(client.read_reply().body.size(), request.size() - request.find("\r\n\r\n") - 4 + 12);
  }
}

TEST_F(HttpLimitsTest, TooManyConnections_FiveOhThree_ThenRoomAgain) {
  ServerOptions options;
  options.max_connections = 3;
  start(options);
  {
    TestClient one(port()), two(port()), three(port());
    for (TestClient* client : {&one, &two, &three}) {
      client->send(kGet);
      EXPECT_EQ(client->read_reply().status, 200);
    }
    TestClient four(port());
    EXPECT_EQ(four.read_reply().status, 503);
    EXPECT_TRUE(four.wait_closed());
  }
  ASSERT_TRUE(no_connections());
  TestClient again(port());
  again.send(kGet);
  EXPECT_EQ(again.read_reply().status, 200);
}

TEST_F(HttpLimitsTest, TwoHundredConnections_OnTwoLoops_AllServed) {
  ServerOptions options;
  options.num_io_threads = 2;
  start(options);
  std::vector<std::unique_ptr<TestClient>> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(std::make_unique<TestClient>(port()));
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < clients.size(); ++i) {
      ASSERT_TRUE(clients[i]->send(get("/echo?" + std::to_string(i))));
    }
    for (size_t i = 0; i < clients.size(); ++i) {
      ASSERT_EQ(clients[i]->read_reply().body, "GET /echo " + std::to_string(i) + " ");
    }
  }
  EXPECT_EQ(server_->num_connections(), 200u);
  clients.clear();
  EXPECT_TRUE(no_connections());
}

// With no descriptor left the server waits (it must not spin) and accepts once there is one again.
TEST_F(HttpLimitsTest, OutOfDescriptors_WaitsAndRecovers) {
  start();
  TestClient before(port());
  before.send(kGet);
  EXPECT_EQ(before.read_reply().status, 200);
  const int lowest_free = ::dup(0);
  ASSERT_GE(lowest_free, 0);
  ::close(lowest_free);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit tight{static_cast<rlim_t>(lowest_free + 1), limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  auto late = std::make_unique<TestClient>(port());  // takes the last descriptor
  EXPECT_TRUE(late->connected());
  late->send(kGet);
  before.send(kGet);  // those who are in are served meanwhile
  EXPECT_EQ(before.read_reply().status, 200);
  std::clock_t cpu_before = std::clock();
  late->set_timeout(milliseconds(300));
  EXPECT_EQ(late->read_reply().status, 0);
  EXPECT_LT(static_cast<double>(std::clock() - cpu_before) / CLOCKS_PER_SEC, 0.1);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  late->set_timeout(milliseconds(10'000));
  EXPECT_EQ(late->read_reply().status, 200);
}

TEST_F(HttpLimitsTest, ConnectAndReset_ManyTimes_NothingLeft) {
  start();
  // More than there are ports: so most are reset, which leaves the client's port free at once.
  const int count = kUnderSanitizer ? 2'000 : 65'000;
  for (int i = 0; i < count; ++i) {
    TestClient client(port());
    ASSERT_TRUE(client.connected()) << i;
    if (i % 3 != 0) client.send(get("/stream").substr(0, static_cast<size_t>(i % 45)));
    i % 8 == 0 ? client.close() : client.reset();
  }
  {
    // Connections are accepted in order: once this one is served, all before it are known.
    TestClient last(port());
    last.send(kGet);
    EXPECT_EQ(last.read_reply().status, 200);
  }
  EXPECT_TRUE(no_connections());
  std::lock_guard lock(mutex_);
  EXPECT_EQ(num_closed_, static_cast<int>(held_.size()));
}

}  // namespace
}  // namespace sparrow::http
