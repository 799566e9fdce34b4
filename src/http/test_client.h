#pragma once
// A raw socket for tests: sends exactly the bytes it is given, reads with a deadline, never sleeps.

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace sparrow::http {

struct TestReply {
  bool complete = false;  // the head and the whole body arrived
  int status = 0;
  std::string head;  // status line and fields, lower-case names are not enforced
  std::string body;  // chunks joined
  // First field of that name, letter case of the name ignored; empty when absent.
  std::string field(std::string_view name) const;
};

class TestClient {
 public:
  explicit TestClient(uint16_t port, const std::string& host = "127.0.0.1",
                      int receive_buffer_bytes = 0);
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  bool connected() const { return fd_ >= 0; }
  bool send(std::string_view bytes);  // false once the server has closed
  void finish_sending();              // half-close
  void reset();                       // closes with RST
  void close();

  // Reads one answer (informational ones are skipped); what follows it stays buffered.
  TestReply read_reply(bool head_only = false);
  // Reads until `text` has arrived, or the stream ends, or the deadline; true: it arrived.
  bool read_until(std::string_view text);
  // True when the server closed (end of stream or reset) before the deadline.
  bool wait_closed();
  // Everything received and not yet taken by read_reply().
  const std::string& received() const { return received_; }

  void set_timeout(std::chrono::milliseconds timeout) { timeout_ = timeout; }

 private:
  enum class Read { kBytes, kEnd, kTimeout };
  Read read_some(std::chrono::steady_clock::time_point deadline);

  int fd_ = -1;
  bool ended_ = false;
  std::string received_;
  std::chrono::milliseconds timeout_{10'000};
};

// Yields until the condition holds; false after ten seconds.
bool eventually(const std::function<bool()>& condition);

}  // namespace sparrow::http
