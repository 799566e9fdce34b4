// The torture table over a real socket: every row gets the answers it must get, as a whole and byte
// by byte, no handler runs for what is refused, and nothing is left behind.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "http/process_test_support.h"
#include "http/test_fixture.h"
#include "http/torture_rows_test.h"

namespace sparrow::http {
namespace {

using TortureTest = HttpServerTest;

std::string label(const TortureRow& row) { return row.group + ": " + row.name; }

// Reads what the row expects; the client is where it is afterwards.
void expect_answers(TestClient& client, const TortureRow& row) {
  for (const int status : row.statuses) {
    const TestReply reply = client.read_reply(status < 0);
    ASSERT_EQ(reply.status, std::abs(status)) << label(row) << ": " << reply.body.substr(0, 200);
    ASSERT_TRUE(reply.complete) << label(row);
  }
  if (row.closes) {
    ASSERT_TRUE(client.wait_closed()) << label(row);
    ASSERT_EQ(client.received(), "") << label(row);
    return;
  }
  ASSERT_TRUE(client.send(kGet)) << label(row);
  ASSERT_EQ(client.read_reply().status, 200) << label(row) << ": the request behind it";
}

int num_expected_calls(const TortureRow& row) {
  const auto is_call = [](int status) { return status == 200 || status == -200 || status == 500; };
  const auto answered = std::count_if(row.statuses.begin(), row.statuses.end(), is_call);
  return static_cast<int>(answered) + (row.closes ? 0 : 1);
}

// Sent whole and, where it is short, byte by byte.
void send_row(TestClient& client, const TortureRow& row, bool bytewise) {
  for (const std::string& piece : row.pieces) {
    for (size_t at = 0; at < piece.size(); at += bytewise ? 1 : piece.size()) {
      client.send(std::string_view(piece).substr(at, bytewise ? 1 : piece.size()));
    }
  }
  if (row.half_close) client.finish_sending();
}

size_t num_bytes(const TortureRow& row) {
  size_t sum = 0;
  for (const std::string& piece : row.pieces) sum += piece.size();
  return sum;
}

TEST_F(TortureTest, EveryRow_WholeAndByteByByte_AnsweredAsExpected) {
  ServerOptions options;
  options.max_body_bytes = kTortureBodyBytes;
  start(options);
  const std::vector<TortureRow> rows = torture_rows();
  const size_t num_fds = num_open_files();
  constexpr size_t kBytewiseBytes = 300;
  size_t resident_before = 0;
  // The first time all buffers come to their size; the second time the whole table must cost less
  // than a MB.
  for (const bool again : {false, true}) {
    if (again) resident_before = resident_bytes();
    for (const TortureRow& row : rows) {
      for (const bool bytewise : {false, true}) {
        if (bytewise && num_bytes(row) > kBytewiseBytes) continue;
        num_handled_ = 0;
        TestClient client(port());
        send_row(client, row, bytewise);
        ASSERT_NO_FATAL_FAILURE(expect_answers(client, row));
        EXPECT_EQ(num_handled_, num_expected_calls(row)) << label(row);
      }
    }
    EXPECT_TRUE(no_connections());
    EXPECT_EQ(num_open_files(), num_fds);
  }
  if (!kUnderSanitizer) {
    EXPECT_LT(resident_bytes(), resident_before + (1u << 20));
  }
  std::set<std::string> names;
  for (const TortureRow& row : rows) EXPECT_TRUE(names.insert(label(row)).second) << label(row);
  std::printf("%zu rows\n", rows.size());
  EXPECT_GE(rows.size(), 250u);
}

TEST_F(TortureTest, SlowRows_EndAtTheirDeadline) {
  ServerOptions options;
  options.header_timeout = options.body_timeout = options.keep_alive_timeout = milliseconds(250);
  start(options);
  const size_t num_fds = num_open_files();
  const std::vector<TortureRow> rows = slow_rows();
  {
    std::vector<std::unique_ptr<TestClient>> clients;  // they wait at the same time
    for (const TortureRow& row : rows) {
      clients.push_back(std::make_unique<TestClient>(port()));
      for (const std::string& piece : row.pieces) clients.back()->send(piece);
    }
    for (size_t i = 0; i < rows.size(); ++i) {
      ASSERT_NO_FATAL_FAILURE(expect_answers(*clients[i], rows[i]));
    }
  }
  EXPECT_TRUE(no_connections());
  EXPECT_EQ(num_open_files(), num_fds);
}

TEST_F(TortureTest, RequestsPerConnection_AtTheBound_ConnectionCloses) {
  ServerOptions options;
  options.max_requests_per_connection = 3;
  start(options);
  TestClient client(port());
  client.send(kGet + kGet + kGet + kGet);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(client.read_reply().field("Connection"), i < 3 ? "" : "close");
  }
  EXPECT_TRUE(client.wait_closed());
  EXPECT_EQ(num_handled_, 3);
}

// A client that ended its sending half and then resets while its answer is still computed.
TEST_F(TortureTest, HalfOpen_ThenReset_IsNoticed) {
  start();
  for (const char* path : {"/hold", "/stream"}) {
    num_closed_ = 0;
    TestClient client(port());
    client.send(get(path));
    const auto held = take_held();
    client.finish_sending();
    client.reset();
    EXPECT_TRUE(eventually([&] { return num_closed_ == 1; })) << path;
  }
  EXPECT_TRUE(no_connections());
}

// A peer that vanished sends nothing that could be tested here; the kernel must be told to ask.
TEST_F(TortureTest, AcceptedSockets_AreProbedForDeadPeers) {
  start();
  TestClient client(port());
  client.send(kGet);
  EXPECT_EQ(client.read_reply().status, 200);
  int num_probed = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    const bool is_socket = ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    if (!is_socket || address.sin_family != AF_INET || ntohs(address.sin_port) != port()) continue;
    int probes = 0, patience_ms = 0;
    size = sizeof probes;
    ASSERT_EQ(::getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &probes, &size), 0);
    size = sizeof patience_ms;
    ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, &size), 0);
    if (probes != 0 && patience_ms > 0) ++num_probed;
  }
  EXPECT_EQ(num_probed, 1);  // the connection; the listening socket has no peer
}

TEST_F(TortureTest, ManyReadersThatStop_EachCostsItsBound_OthersAreServed) {
  constexpr int kNumReaders = 100;
  constexpr size_t kBound = 256u << 10;
  ServerOptions options;
  options.max_unsent_bytes = kBound;
  start(options);
  std::vector<std::unique_ptr<TestClient>> readers;
  for (int i = 0; i < kNumReaders; ++i) {
    readers.push_back(std::make_unique<TestClient>(port(), "127.0.0.1", 4096));
    readers.back()->send(get("/stream"));
  }
  ASSERT_TRUE(eventually([&] { return num_handled_ == kNumReaders; }));
  const size_t resident_before = resident_bytes();
  const std::string event = "data: " + std::string(16u << 10, 'x') + "\n\n";
  TestClient other(port());
  size_t num_open = kNumReaders;
  for (int round = 0; round < 1000 && num_open > 0; ++round) {
    std::atomic<bool> written{false};
    server_->loops()[0]->post([&] {
      std::lock_guard lock(mutex_);
      num_open = 0;
      for (const auto& responder : held_) num_open += responder->write(event) ? 1 : 0;
      written = true;
    });
    other.send(kGet);
    ASSERT_EQ(other.read_reply().status, 200);
    ASSERT_TRUE(eventually([&] { return written.load(); }));
  }
  EXPECT_EQ(num_open, 0u);
  EXPECT_TRUE(eventually([&] { return num_closed_ == kNumReaders; }));
  if (!kUnderSanitizer) {
    EXPECT_LT(resident_bytes(), resident_before + kNumReaders * 2 * kBound + (16u << 20));
  }
}

}  // namespace
}  // namespace sparrow::http
