#include "http/test_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <thread>

namespace sparrow::http {

using Clock = std::chrono::steady_clock;

std::string TestReply::field(std::string_view name) const {
  const auto lower = [](std::string_view text) {
    std::string result(text);
    for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return result;
  };
  const size_t at = lower(head).find("\r\n" + lower(name) + ": ");
  if (at == std::string::npos) return "";
  const size_t start = at + name.size() + 4;
  return head.substr(start, head.find("\r\n", start) - start);
}

TestClient::TestClient(uint16_t port, const std::string& host, int receive_buffer_bytes) {
  const bool is_v6 = host.find(':') != std::string::npos;
  const int fd = ::socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return;
  if (receive_buffer_bytes > 0) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
  }
  const int one = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  int result = -1;
  if (is_v6 && ::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    result = ::connect(fd, reinterpret_cast<sockaddr*>(&v6), sizeof v6);
  } else if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    result = ::connect(fd, reinterpret_cast<sockaddr*>(&v4), sizeof v4);
  }
  if (result == 0) {
    fd_ = fd;
  } else {
    ::close(fd);
  }
}

TestClient::~TestClient() { close(); }

void TestClient::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void TestClient::finish_sending() { ::shutdown(fd_, SHUT_WR); }

void TestClient::reset() {
  const linger hard{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close();
}

bool TestClient::send(std::string_view bytes) {
  const auto deadline = Clock::now() + timeout_;
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) return false;
    // A server that refuses early answers while we still send: keep its answer.
    pollfd poll_fd{fd_, POLLOUT | POLLIN, 0};
    if (::poll(&poll_fd, 1, 100) > 0 && (poll_fd.revents & POLLIN) != 0) {
      if (read_some(deadline) == Read::kEnd) return false;
    }
    if (Clock::now() > deadline) return false;
  }
  return true;
}

TestClient::Read TestClient::read_some(Clock::time_point deadline) {
  if (ended_ || fd_ < 0) return Read::kEnd;
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  pollfd poll_fd{fd_, POLLIN, 0};
  if (left <= 0 || ::poll(&poll_fd, 1, static_cast<int>(left)) <= 0) return Read::kTimeout;
  char buffer[65536];
  const ssize_t got = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
  if (got > 0) {
    received_.append(buffer, static_cast<size_t>(got));
    return Read::kBytes;
  }
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return Read::kBytes;
  ended_ = true;
  return Read::kEnd;
}

bool TestClient::read_until(std::string_view text) {
  const auto deadline = Clock::now() + timeout_;
  size_t num_searched = 0;  // a long stream is searched once, not once per read
  while (received_.find(text, num_searched) == std::string::npos) {
    num_searched = received_.size() - std::min(received_.size(), text.size() - 1);
    if (read_some(deadline) != Read::kBytes) return false;
  }
  return true;
}

bool TestClient::wait_closed() {
  const auto deadline = Clock::now() + timeout_;
  for (;;) {
    const Read result = read_some(deadline);
    if (result == Read::kEnd) return true;
    if (result == Read::kTimeout) return false;
  }
}

TestReply TestClient::read_reply(bool head_only) {
  TestReply reply;
  do {
    if (!read_until("\r\n\r\n")) return reply;
    const size_t head_len = received_.find("\r\n\r\n") + 4;
    reply.head = received_.substr(0, head_len);
    received_.erase(0, head_len);
    reply.status = std::atoi(reply.head.c_str() + 9);
  } while (reply.status / 100 == 1);
  const auto deadline = Clock::now() + timeout_;
  const std::string length = reply.field("Content-Length");
  if (head_only || reply.status == 204 || reply.status == 304) {
    reply.complete = true;
  } else if (reply.field("Transfer-Encoding") == "chunked") {
    for (;;) {
      if (!read_until("\r\n")) return reply;
      const size_t line_len = received_.find("\r\n") + 2;
      const size_t chunk_len = std::strtoull(received_.c_str(), nullptr, 16);
      while (received_.size() < line_len + chunk_len + 2) {
        if (read_some(deadline) != Read::kBytes) return reply;
      }
      reply.body += received_.substr(line_len, chunk_len);
      received_.erase(0, line_len + chunk_len + 2);
      if (chunk_len == 0) break;
    }
    reply.complete = true;
  } else if (!length.empty()) {
    const size_t body_len = std::strtoull(length.c_str(), nullptr, 10);
    while (received_.size() < body_len) {
      if (read_some(deadline) != Read::kBytes) return reply;
    }
    reply.body = received_.substr(0, body_len);
    received_.erase(0, body_len);
    reply.complete = true;
  } else {
    reply.complete = wait_closed();
    reply.body = std::move(received_);
    received_.clear();
  }
  return reply;
}

bool eventually(const std::function<bool()>& condition) {
  const auto deadline = Clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace sparrow::http
