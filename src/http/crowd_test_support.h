#pragma once
// A crowd of connections held by one thread: idle ones that were answered once, and streams that go
// on. Source addresses 127.0.0.2 and up, because one address has ports for some 28,000 only.
// One thread, but for the counters.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sparrow::http {

class Crowd {
 public:
  explicit Crowd(uint16_t port) : port_(port), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}
  ~Crowd() {
    for (const Member& member : members_) ::close(member.fd);
    ::close(epoll_);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  // One more connection that sends these bytes; false when it cannot be had.
  bool add(std::string_view request) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    constexpr size_t kPerAddress = 5000;
    sockaddr_in from{}, to{};
    from.sin_family = to.sin_family = AF_INET;
    from.sin_addr.s_addr =
        htonl(INADDR_LOOPBACK + 1 + static_cast<uint32_t>(members_.size() / kPerAddress));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port_);
    const bool connected = ::bind(fd, reinterpret_cast<sockaddr*>(&from), sizeof from) == 0 &&
                           ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = members_.size();
    if (!connected || ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
      ::close(fd);
      return false;
    }
    members_.push_back({fd, 0, "", false});
    return ask(members_.size() - 1, request);
  }
  // The member sends something more; its count of bytes starts anew.
  bool ask(size_t member, std::string_view request) {
    Member& asking = members_[member];
    asking.num_bytes = 0;
    asking.tail.clear();
    return ::send(asking.fd, request.data(), request.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(request.size());
  }
  // Reads what has come, waiting for it at most that long.
  void read_for(std::chrono::milliseconds time) {
    const auto deadline = std::chrono::steady_clock::now() + time;
    do {
      epoll_event events[256];
      const int num_events = ::epoll_wait(epoll_, events, 256, 10);
      for (int i = 0; i < num_events; ++i) read(members_[events[i].data.u64]);
    } while (std::chrono::steady_clock::now() < deadline);
  }
  // Until every member from `first` on has read something (or, with a text, until its last bytes
  // are these). False at the deadline, or when one was closed first.
  bool read_until_all(size_t first, std::string_view end, std::chrono::seconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
      bool all = true;
      for (size_t i = first; i < members_.size() && all; ++i) {
        const Member& member = members_[i];
        all = end.empty() ? member.num_bytes > 0 : std::string_view(member.tail).ends_with(end);
        if (!all && member.ended) return false;
      }
      if (all) return true;
      if (std::chrono::steady_clock::now() > deadline) return false;
      read_for(std::chrono::milliseconds(1));
    }
  }

  size_t size() const { return members_.size(); }
  size_t num_ended() const {
    size_t count = 0;
    for (const Member& member : members_) count += member.ended ? 1 : 0;
    return count;
  }
  uint64_t num_bytes_read() const { return num_bytes_read_; }

 private:
  struct Member {
    int fd = -1;
    uint64_t num_bytes = 0;
    std::string tail;  // the last bytes read
    bool ended = false;
  };

  void read(Member& member) {
    char buffer[16384];
    const ssize_t got = ::recv(member.fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0) {
      constexpr size_t kTailBytes = 32;
      const auto count = static_cast<size_t>(got);
      member.num_bytes += count;
      num_bytes_read_ += count;
      member.tail.append(buffer, count);
      if (member.tail.size() > kTailBytes) member.tail.erase(0, member.tail.size() - kTailBytes);
      return;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    member.ended = true;
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, member.fd, nullptr);
  }

  const uint16_t port_;
  const int epoll_;
  std::vector<Member> members_;
  std::atomic<uint64_t> num_bytes_read_{0};
};

}  // namespace sparrow::http
