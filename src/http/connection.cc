#include "http/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>

#include "base/log.h"

namespace sparrow::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

// What a client may send ahead of the answer it waits for, and what it may leave unread before its
// next pipelined request is looked at.
constexpr size_t kMaxInputAheadBytes = 64u << 10;
constexpr size_t kMaxOutputAheadBytes = 256u << 10;
// A refused client that is still sending would lose the refusal to a reset: read on for so long.
constexpr std::chrono::milliseconds kLingerTimeout{2000};
// A body may take longer than body_timeout as long as it comes faster than this.
constexpr size_t kMinBodyBytesPerMs = 64;
constexpr int kMaxReadsPerWake = 8;
constexpr size_t kSmallBodyBytes = 64u << 10;
constexpr size_t kKeptOutputBytes = 64u << 10;
// A peer that vanished without a word (power, network) is known to be dead after this long: probes
// find it while nothing is sent, the other limit while sent bytes stay unacknowledged.
constexpr int kProbeAfterSeconds = 30;
constexpr int kProbeEverySeconds = 10;
constexpr int kNumProbes = 3;
constexpr int kUnacknowledgedMs = 120'000;

// Advice to the kernel: where an option is refused, only the detection is slower.
void detect_dead_peer(int fd) {
  const auto set = [fd](int level, int name, int value) {
    (void)::setsockopt(fd, level, name, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kProbeAfterSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kProbeEverySeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kNumProbes);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, kUnacknowledgedMs);
}

ParserLimits parser_limits(const ServerOptions& options) {
  ParserLimits limits;
  limits.max_header_bytes = options.max_header_bytes;
  limits.max_body_bytes = options.max_body_bytes;
  return limits;
}

}  // namespace

Connection::Connection(std::shared_ptr<LoopContext> context, tcp::socket socket,
                       std::string remote_address)
    : context_(std::move(context)),
      options_(context_->shared->options),
      remote_address_(std::move(remote_address)),
      socket_(std::move(socket)),
      tls_(context_->shared->tls ? context_->shared->tls->accept(socket_->native_handle())
                                 : nullptr),
      parser_(parser_limits(options_)) {}

void Connection::start() {
  error_code error;
  socket_->set_option(tcp::no_delay(true), error);
  socket_->non_blocking(true, error);
  if (error) return close();
  detect_dead_peer(socket_->native_handle());
  phase_start_ = RealClock().now();
  read_deadline_ = phase_start_ + options_.header_timeout;
  arm_read();
}

// ---- waiting ----

bool Connection::can_take_request() const {
  return socket_ && !broken_ && !exchange_ && !close_after_flush_ && phase_ != Phase::kLinger &&
         unsent_bytes() < kMaxOutputAheadBytes;
}

bool Connection::wants_input() const {
  if (!socket_ || broken_ || input_ended_) return false;
  return phase_ == Phase::kLinger || input_.size() < kMaxInputAheadBytes;
}

void Connection::arm_read() {
  if (read_armed_ || !wants_input()) return;
  read_armed_ = true;
  socket_->async_wait(tcp::socket::wait_read, [self = shared_from_this()](error_code error) {
    self->read_armed_ = false;
    if (!self->socket_) return;
    if (error) return self->close();
    self->on_readable();
  });
}

void Connection::arm_write() {
  if (write_armed_ || !socket_) return;
  write_armed_ = true;
  write_deadline_ = RealClock().now() + options_.write_timeout;
  socket_->async_wait(tcp::socket::wait_write, [self = shared_from_this()](error_code error) {
    self->write_armed_ = false;
    self->write_deadline_ = TimePoint::max();
    if (!self->socket_) return;
    if (error) return self->close();
    self->flush();
    self->process_input();
    if (std::exchange(self->handshake_blocked_, false) && self->socket_) self->on_readable();
  });
}

void Connection::arm_reset_watch() {
  if (reset_watch_armed_ || !socket_) return;
  reset_watch_armed_ = true;
  socket_->async_wait(tcp::socket::wait_error, [self = shared_from_this()](error_code) {
    self->reset_watch_armed_ = false;
    self->close();
  });
}

void Connection::sweep(TimePoint now) {
  if (!socket_) return;
  if (now >= write_deadline_) {
    log_debug("http: {} reads nothing for {} ms, dropped", remote_address_,
              options_.write_timeout.count());
    return close();
  }
  if (now < read_deadline_) return;
  if (phase_ == Phase::kHead || phase_ == Phase::kBody) {
    return answer_protocol_error(408, "the request did not arrive in time");
  }
  close();
}

void Connection::update_phase() {
  Phase phase = Phase::kIdle;
  if (phase_ == Phase::kLinger) return;
  if (exchange_ || close_after_flush_) {
    phase = Phase::kAnswer;
  } else if (parser_.state() == RequestParser::State::kHead) {
    phase = Phase::kHead;
  } else if (parser_.state() == RequestParser::State::kBody) {
    phase = Phase::kBody;
  }
  const bool entered = phase != phase_ || phase == Phase::kAnswer;
  if (!entered && phase != Phase::kBody) return;
  if (entered) phase_start_ = RealClock().now();
  phase_ = phase;
  switch (phase) {
    case Phase::kIdle:
      read_deadline_ = phase_start_ + options_.keep_alive_timeout;
      break;
    case Phase::kHead:
      read_deadline_ = phase_start_ + options_.header_timeout;
      break;
    case Phase::kBody:
      // What came quickly earns no long silence afterwards.
      read_deadline_ =
          std::min(phase_start_ + options_.body_timeout +
                       std::chrono::milliseconds(parser_.num_body_bytes() / kMinBodyBytesPerMs),
                   RealClock().now() + options_.body_timeout);
      break;
    case Phase::kAnswer:
    case Phase::kLinger:
      read_deadline_ = TimePoint::max();
      break;
  }
}

// ---- reading ----

size_t Connection::receive(error_code& error) {
  if (tls_) return receive_tls(error);
  return socket_->read_some(asio::buffer(context_->scratch), error);
}

size_t Connection::transmit(std::string_view bytes, error_code& error) {
  if (tls_) return transmit_tls(bytes, error);
  return socket_->write_some(asio::buffer(bytes.data(), bytes.size()), error);
}

void Connection::on_readable() {
  const auto self = shared_from_this();
  for (int i = 0; i < kMaxReadsPerWake && wants_input(); ++i) {
    error_code error;
    const size_t num_bytes = receive(error);
    if (!socket_) return;
    if (error == asio::error::would_block) break;
    if (error == asio::error::eof) {
      on_end_of_input();
      break;
    }
    if (error) return close();
    on_bytes({context_->scratch.data(), num_bytes});
    // TLS hands out one record at a time.
    if (num_bytes < context_->scratch.size() && tls_ == nullptr) break;
  }
  arm_read();
}

void Connection::on_bytes(std::string_view bytes) {
  if (close_after_flush_ || phase_ == Phase::kLinger) return;  // discarded
  // The scratch buffer may be reused while a handler runs only by this connection's own reads,
  // and those wait for us to return.
  if (input_.empty()) bytes.remove_prefix(parse(bytes));
  if (!close_after_flush_) input_.append(bytes);
}

void Connection::process_input() {
  if (parsing_ || !socket_) return;
  if (!input_.empty() && can_take_request()) {
    std::string bytes = std::move(input_);
    input_.clear();
    const size_t used = parse(bytes);
    if (!close_after_flush_) input_.assign(bytes, used);
  }
  if (input_ended_ && can_take_request()) return on_end_of_input();
  arm_read();
}

void Connection::count_body_bytes() {
  size_t num_bytes = 0;
  if (socket_) num_bytes += parser_.num_body_bytes();
  if (exchange_) num_bytes += exchange_->request->body.size();
  auto& total = context_->shared->num_body_bytes;
  // Wraps around when negative, as the counter does.
  total.fetch_add(num_bytes - counted_body_bytes_, std::memory_order_relaxed);
  counted_body_bytes_ = num_bytes;
}

// The last eighth of the room is kept for small bodies: who sends megabytes while others hold the
// rest is refused, a chat is not.
bool Connection::has_too_large_share() const {
  const size_t room = options_.max_total_body_bytes;
  const bool is_small = counted_body_bytes_ <= kSmallBodyBytes;
  return counted_body_bytes_ != 0 &&
         context_->shared->num_body_bytes > (is_small ? room : room - room / 8);
}

size_t Connection::parse(std::string_view bytes) {
  size_t used = 0;
  parsing_ = true;
  while (used < bytes.size() && can_take_request()) {
    used += parser_.feed(bytes.substr(used));
    update_phase();
    count_body_bytes();
    if (parser_.state() == RequestParser::State::kFailed) {
      const ProtocolError error = parser_.error();
      answer_protocol_error(error.status, error.message);
      used = bytes.size();
    } else if (has_too_large_share()) {
      answer_protocol_error(503, "too many request bodies at once, try again");
      used = bytes.size();
    } else if (parser_.state() == RequestParser::State::kComplete) {
      dispatch();
    } else if (parser_.state() == RequestParser::State::kBody && parser_.expects_continue() &&
               !sent_continue_) {
      sent_continue_ = true;
      output_ += "HTTP/1.1 100 Continue\r\n\r\n";
      flush();
    }
  }
  parsing_ = false;
  update_phase();
  return used;
}

void Connection::on_end_of_input() {
  input_ended_ = true;
  if (phase_ == Phase::kLinger) return close();
  arm_reset_watch();
  if (exchange_) {
    // Has it closed, or only its sending half? Bytes that mean nothing make a closed peer reset.
    if (!exchange_->started && !exchange_->http_10) {
      output_ += "HTTP/1.1 100 Continue\r\n\r\n";
    } else if (exchange_->event_stream && exchange_->chunked) {
      append_chunk(output_, ": \n\n");
    }
    return flush();
  }
  if (!can_take_request()) return;  // queued answers leave first, see process_input()
  const auto state = parser_.state();
  if (state == RequestParser::State::kHead || state == RequestParser::State::kBody) {
    return answer_protocol_error(400, "the request ended before it was complete");
  }
  close_after_flush_ = true;
  flush();
}

// ---- writing and closing ----

void Connection::flush() {
  if (!socket_ || broken_ || write_armed_) return;
  while (unsent_bytes() != 0) {
    error_code error;
    const size_t num_bytes = transmit(std::string_view(output_).substr(output_sent_), error);
    if (error == asio::error::would_block) break;
    if (error) return close_soon();
    output_sent_ += num_bytes;
  }
  if (unsent_bytes() == 0) {
    output_.clear();
    output_sent_ = 0;
    if (output_.capacity() > kKeptOutputBytes) output_.shrink_to_fit();
    if (exchange_ && exchange_->when_sent) {
      loop().post(std::exchange(exchange_->when_sent, nullptr));
    }
    return after_flush();
  }
  // Moves the rest only when at least as much was sent: every byte moves once on average.
  if (output_sent_ > unsent_bytes()) {
    output_.erase(0, output_sent_);
    output_sent_ = 0;
  }
  arm_write();
}

void Connection::after_flush() {
  if (!close_after_flush_ || exchange_ || phase_ == Phase::kLinger) return;
  if (tls_) tls_->finish_sending();
  if (input_ended_ || context_->stopping) return close_soon();
  begin_linger();
}

void Connection::begin_linger() {
  error_code error;
  socket_->shutdown(tcp::socket::shutdown_send, error);
  phase_ = Phase::kLinger;
  phase_start_ = RealClock().now();
  read_deadline_ = phase_start_ + kLingerTimeout;
  arm_read();
}

// Callers of write() and send() must not find themselves inside their own on_close callback.
void Connection::close_soon() {
  if (broken_) return;
  broken_ = true;
  loop().post([self = shared_from_this()] { self->close(); });
}

void Connection::close() {
  if (!socket_) return;
  const auto self = shared_from_this();
  tls_.reset();
  socket_.reset();  // waits still pending end with operation_aborted
  broken_ = true;
  read_deadline_ = write_deadline_ = TimePoint::max();
  input_ = std::string();
  output_ = std::string();
  output_sent_ = 0;
  std::optional<Exchange> ended = std::move(exchange_);
  exchange_.reset();
  count_body_bytes();
  context_->connections.erase(self);
  context_->shared->num_connections.fetch_sub(1, std::memory_order_relaxed);
  if (ended && ended->on_close) ended->on_close();
  if (ended && ended->when_sent) loop().post(std::move(ended->when_sent));
  if (context_->stopping && context_->connections.empty()) loop().request_stop();
}

void Connection::drain() {
  if (!socket_) return;
  if (phase_ == Phase::kIdle) on_readable();  // a request may lie in the socket already
  if (!socket_) return;
  if (phase_ == Phase::kIdle && input_.empty() && !close_after_flush_) {
    close_after_flush_ = true;
    flush();
  }
}

void Connection::stop() {
  if (!socket_) return;
  if (exchange_ || unsent_bytes() == 0) return close();
  close_after_flush_ = true;
}

}  // namespace sparrow::http
