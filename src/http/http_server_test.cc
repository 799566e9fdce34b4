#include "http/http_server.h"

#include <gtest/gtest.h>

#include <thread>

#include "http/test_client.h"
#include "http/test_fixture.h"

namespace sparrow::http {
namespace {

TEST_F(HttpServerTest, Get_Echo_AnswersWithLengthDateAndRequestId) {
  start();
  TestClient client(port());
  client.send(get("/echo?a=%20b"));
  const TestReply reply = client.read_reply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "GET /echo a=%20b ");
  EXPECT_EQ(reply.field("Content-Type"), "text/plain");
  EXPECT_EQ(reply.field("x-request-id").substr(0, 4), "req-");
  EXPECT_NE(reply.field("Date").find(" GMT"), std::string::npos);
}

TEST_F(HttpServerTest, KeepAlive_ManyRequests_OneConnection) {
  start();
  TestClient client(port());
  for (int i = 0; i < 100; ++i) {
    const std::string body = std::to_string(i);
    ASSERT_TRUE(client.send(post("/echo", body)));
    EXPECT_EQ(client.read_reply().body, "POST /echo  " + body);
  }
  EXPECT_EQ(server_->num_connections(), 1u);
}

TEST_F(HttpServerTest, RequestBytes_OneAtATime_Answered) {
  start();
  TestClient client(port());
  for (char c : post("/echo", "hello")) ASSERT_TRUE(client.send({&c, 1}));
  EXPECT_EQ(client.read_reply().body, "POST /echo  hello");
}

TEST_F(HttpServerTest, Pipelined_TenThousand_InOrder) {
  start();
  TestClient client(port());
  std::string requests;
  constexpr int kNumRequests = 10'000;
  for (int i = 0; i < kNumRequests; ++i) {
    requests += i % 2 == 0 ? get("/echo?" + std::to_string(i)) : post("/echo", std::to_string(i));
  }
  std::thread sender([&] { client.send(requests); });
  // The sender only reads while its socket is full; one thread at a time touches the buffer.
  sender.join();
  for (int i = 0; i < kNumRequests; ++i) {
    const TestReply reply = client.read_reply();
    ASSERT_EQ(reply.body, i % 2 == 0 ? "GET /echo " + std::to_string(i) + " "
                                     : "POST /echo  " + std::to_string(i));
  }
}

TEST_F(HttpServerTest, Pipelined_BehindAHeldAnswer_WaitsItsTurn) {
  start();
  TestClient client(port());
  client.send(get("/hold") + get("/echo?second"));
  const auto held = take_held();
  EXPECT_EQ(num_handled_, 1);
  on_loop(held, [&] { held->send(text_response(200, "first")); });
  EXPECT_EQ(client.read_reply().body, "first");
  EXPECT_EQ(client.read_reply().body, "GET /echo second ");
}

TEST_F(HttpServerTest, Head_SameHeadersNoBody) {
  start();
  TestClient client(port());
  client.send("HEAD /echo HTTP/1.1\r\nHost: localhost\r\n\r\n" + kGet);
  const TestReply head = client.read_reply(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.field("Content-Length"), std::to_string(std::string("HEAD /echo  ").size()));
  EXPECT_EQ(client.read_reply().body, "GET /echo  ");
}

TEST_F(HttpServerTest, Http10_ClosesUnlessAskedToStay) {
  start();
  TestClient closing(port());
  closing.send("GET /echo HTTP/1.0\r\n\r\n");
  EXPECT_EQ(closing.read_reply().body, "GET /echo  ");
  EXPECT_TRUE(closing.wait_closed());
  TestClient staying(port());
  staying.send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const TestReply reply = staying.read_reply();
  EXPECT_EQ(reply.field("Connection"), "keep-alive");
  staying.send("GET /echo HTTP/1.0\r\n\r\n");
  EXPECT_EQ(staying.read_reply().body, "GET /echo  ");
}

TEST_F(HttpServerTest, Http10_Stream_IsNotChunkedAndEndsWithTheConnection) {
  start();
  TestClient client(port());
  client.send("GET /stream HTTP/1.0\r\n\r\n");
  const auto held = take_held();
  on_loop(held, [&] {
    EXPECT_TRUE(held->write("data: 1\n\n"));
    held->finish();
  });
  const TestReply reply = client.read_reply();
  EXPECT_EQ(reply.body, "data: 1\n\n");
  EXPECT_EQ(reply.field("Transfer-Encoding"), "");
  EXPECT_TRUE(reply.complete);
}

TEST_F(HttpServerTest, ConnectionClose_ClosesAfterTheAnswer) {
  start();
  TestClient client(port());
  client.send(get("/echo", "Connection: close\r\n"));
  EXPECT_EQ(client.read_reply().field("Connection"), "close");
  EXPECT_TRUE(client.wait_closed());
}

TEST_F(HttpServerTest, Stream_EachWriteArrivesAtOnce) {
  start();
  TestClient client(port());
  client.send(get("/stream"));
  const auto held = take_held();
  ASSERT_TRUE(client.read_until("\r\n\r\n"));
  for (int i = 0; i < 20; ++i) {
    const std::string event = "data: " + std::to_string(i) + "\n\n";
    on_loop(held, [&] { EXPECT_TRUE(held->write(event)); });
    ASSERT_TRUE(client.read_until(event));  // before the next is written
  }
  on_loop(held, [&] { held->finish(); });
  EXPECT_TRUE(client.read_until("0\r\n\r\n"));
  EXPECT_EQ(num_closed_, 0);
  client.send(kGet);  // the connection lives on
  EXPECT_TRUE(client.read_until("GET /echo"));
}

TEST_F(HttpServerTest, ExpectContinue_InvitesTheBody) {
  start();
  TestClient client(port());
  client.send(
      "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
      "Expect: 100-continue\r\n\r\n");
  ASSERT_TRUE(client.read_until("HTTP/1.1 100 Continue\r\n\r\n"));
  client.send("body");
  EXPECT_EQ(client.read_reply().body, "POST /echo  body");
}

TEST_F(HttpServerTest, RequestId_SaneIsKept_OthersAreReplaced) {
  start();
  TestClient client(port());
  client.send(get("/echo", "X-Request-Id: abc-123:4\r\n"));
  EXPECT_EQ(client.read_reply().field("x-request-id"), "abc-123:4");
  client.send(get("/echo", "X-Request-Id: <script>\r\n"));
  EXPECT_EQ(client.read_reply().field("x-request-id").substr(0, 4), "req-");
}

TEST_F(HttpServerTest, Dropped_SendsFiveHundred_AndTheServerGoesOn) {
  start();
  TestClient client(port());
  client.send(get("/drop"));
  EXPECT_EQ(client.read_reply().status, 500);
  client.send(get("/throw"));
  EXPECT_EQ(client.read_reply().status, 500);
  client.send(kGet);
  EXPECT_EQ(client.read_reply().status, 200);
}

TEST_F(HttpServerTest, Dropped_FromAnotherThread_SendsFiveHundred) {
  start();
  TestClient client(port());
  client.send(get("/hold"));
  take_held().reset();
  EXPECT_EQ(client.read_reply().status, 500);
}

TEST_F(HttpServerTest, Dropped_MidStream_CutsTheBody) {
  start();
  TestClient client(port());
  client.send(get("/stream"));
  take_held().reset();
  EXPECT_FALSE(client.read_reply().complete);
}

TEST_F(HttpServerTest, ClientGone_WhileStreaming_OnCloseFires) {
  start();
  for (const bool hard : {true, false}) {
    num_closed_ = 0;
    TestClient client(port());
    client.send(get("/stream"));
    const auto held = take_held();
    ASSERT_TRUE(client.read_until("\r\n\r\n"));
    hard ? client.reset() : client.close();
    // Nothing is written: the server must notice by itself.
    EXPECT_TRUE(eventually([&] { return num_closed_ == 1; })) << (hard ? "reset" : "close");
    EXPECT_TRUE(no_connections());
    on_loop(held, [&] {
      EXPECT_TRUE(held->closed());
      EXPECT_FALSE(held->write("data: late\n\n"));
      held->finish();
    });
    EXPECT_EQ(num_closed_, 1);
  }
}

TEST_F(HttpServerTest, ClientGone_BeforeTheAnswer_OnCloseFires) {
  start();
  for (const bool hard : {true, false}) {
    num_closed_ = 0;
    TestClient client(port());
    client.send(get("/hold"));
    const auto held = take_held();
    hard ? client.reset() : client.close();
    EXPECT_TRUE(eventually([&] { return num_closed_ == 1; })) << (hard ? "reset" : "close");
    on_loop(held, [&] { held->send(text_response(200, "late")); });
    EXPECT_TRUE(no_connections());
  }
}

TEST_F(HttpServerTest, HalfClose_AfterTheRequest_StillAnswered) {
  start();
  TestClient client(port());
  client.send(get("/hold"));
  client.finish_sending();
  const auto held = take_held();
  ASSERT_TRUE(client.read_until("100 Continue"));  // asked whether it is still there
  on_loop(held, [&] { held->send(text_response(200, "answer")); });
  EXPECT_EQ(client.read_reply().body, "answer");
  EXPECT_TRUE(client.wait_closed());
  EXPECT_EQ(num_closed_, 0);
}

TEST_F(HttpServerTest, HalfClose_WithPipelinedRequests_AllAnswered) {
  start();
  TestClient client(port());
  client.send(kGet + kGet + kGet);
  client.finish_sending();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.read_reply().body, "GET /echo  ");
  EXPECT_TRUE(client.wait_closed());
}

TEST_F(HttpServerTest, HalfClose_MidBody_FourHundred) {
  start();
  TestClient client(port());
  client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc");
  client.finish_sending();
  EXPECT_EQ(client.read_reply().status, 400);
  EXPECT_EQ(num_handled_, 0);
}

TEST_F(HttpServerTest, OnClose_RegisteredTooLate_StillFires) {
  start();
  TestClient client(port());
  client.send(get("/hold"));
  const auto held = take_held();
  client.reset();
  ASSERT_TRUE(eventually([&] { return num_closed_ == 1; }));
  on_loop(held, [&] { held->on_close([&] { ++num_closed_; }); });
  EXPECT_TRUE(eventually([&] { return num_closed_ == 2; }));
}

}  // namespace
}  // namespace sparrow::http
