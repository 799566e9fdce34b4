#pragma once
// Connection: one client socket, from accept to close, on one IO thread for life: no locks.
// The first bytes of a TLS connection are its handshake, under the deadline of a request's head.
// The parser needs no socket (request_parser.h), so a connection is a state machine over two
// readiness waits instead of a coroutine: on_readable() feeds the parser, flush() writes. The
// socket is watched while an answer is written, so that a client that left is noticed at once:
//   reset             -> the pending wait ends, on_close fires
//   end of its stream -> it closed, or only its sending half; an interim 100 (or an SSE comment)
//                        tells which: a closed client answers with a reset.
// Internal to http/.

#include <array>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "base/clock.h"
#include "http/http_server.h"
#include "http/io_loop.h"
#include "http/request_parser.h"
#include "http/response_head.h"
#include "http/tls.h"

namespace sparrow::http {

class Connection;

// Of the whole server; constant but for the counter.
struct ServerShared {
  ServerOptions options;
  Handler handler;
  std::function<Response(int status, std::string_view message)> protocol_error;
  bool checks_host = false;
  std::unique_ptr<TlsContext> tls;  // null: plain HTTP
  std::atomic<size_t> num_connections{0};
  std::atomic<size_t> num_body_bytes{0};  // received and not yet answered
};

// Of one IO thread, and owned by it. Outlives the server while a responder is held somewhere.
struct LoopContext {
  std::shared_ptr<ServerShared> shared;
  std::shared_ptr<AsioLoop> loop;
  std::unordered_set<std::shared_ptr<Connection>> connections;
  DateCache date;
  std::array<char, 64u << 10> scratch;  // every read goes through it: idle connections own none
  bool draining = false;                // no further request after the one in progress
  bool stopping = false;                // the loop ends with its last connection
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<LoopContext> context, boost::asio::ip::tcp::socket socket,
             std::string remote_address);

  void start();
  // Once per tick of the loop: acts on deadlines that have passed.
  void sweep(TimePoint now);
  // Closes when idle, else after the answer in progress.
  void drain();
  // Ends every answer in progress; what is already queued may still leave.
  void stop();
  void close();

  // The responder's side; `exchange_id` is stale once the exchange ended or the client is gone.
  void send(uint64_t exchange_id, Response response);
  void start_stream(uint64_t exchange_id, int status, std::string_view content_type,
                    const Headers& headers);
  bool write(uint64_t exchange_id, std::string_view bytes);
  void finish(uint64_t exchange_id);
  void on_close(uint64_t exchange_id, std::function<void()> callback);
  void when_sent(uint64_t exchange_id, std::function<void()> task);
  bool is_open(uint64_t exchange_id) const;
  void abandon(uint64_t exchange_id);
  AsioLoop& loop() const { return *context_->loop; }

 private:
  enum class Phase { kIdle, kHead, kBody, kAnswer, kLinger };

  struct Exchange {
    uint64_t id = 0;
    std::shared_ptr<const Request> request;
    Headers cors;
    bool http_10 = false;
    bool keep_alive = true;
    bool without_body = false;  // HEAD, or a status that has none
    bool started = false;       // the head of a stream is queued
    bool chunked = false;
    bool event_stream = false;
    std::function<void()> on_close;
    std::function<void()> when_sent;
  };

  void arm_read();
  void arm_write();
  void arm_reset_watch();
  // Like read_some() and write_some() of a non-blocking socket, through TLS where there is some.
  size_t receive(boost::system::error_code& error);
  size_t receive_tls(boost::system::error_code& error);
  size_t transmit(std::string_view bytes, boost::system::error_code& error);
  size_t transmit_tls(std::string_view bytes, boost::system::error_code& error);
  void on_readable();
  void on_end_of_input();
  void on_bytes(std::string_view bytes);
  size_t parse(std::string_view bytes);
  void process_input();
  void dispatch();
  void run_handler(std::shared_ptr<const Request> request);
  void answer_protocol_error(int status, std::string_view message);
  void send_whole(const Response& response);
  void end_exchange();
  void flush();
  void after_flush();
  void begin_linger();
  void close_soon();
  void update_phase();
  void count_body_bytes();
  bool has_too_large_share() const;
  bool can_take_request() const;
  bool wants_input() const;
  size_t unsent_bytes() const { return output_.size() - output_sent_; }
  Exchange* exchange(uint64_t exchange_id);

  const std::shared_ptr<LoopContext> context_;
  const ServerOptions& options_;
  const std::string remote_address_;
  std::optional<boost::asio::ip::tcp::socket> socket_;  // empty once closed
  std::unique_ptr<TlsSession> tls_;                     // null: plain
  RequestParser parser_;
  std::string input_;   // received behind the request in progress, bounded
  std::string output_;  // not yet taken by the kernel from output_sent_ on, bounded
  size_t output_sent_ = 0;
  std::optional<Exchange> exchange_;
  uint64_t num_exchanges_ = 0;
  size_t counted_body_bytes_ = 0;  // our part of ServerShared::num_body_bytes

  Phase phase_ = Phase::kIdle;
  TimePoint phase_start_{};
  TimePoint read_deadline_ = TimePoint::max();
  TimePoint write_deadline_ = TimePoint::max();

  bool read_armed_ = false;
  bool write_armed_ = false;
  bool reset_watch_armed_ = false;
  bool handshake_blocked_ = false;  // TLS could not write, and reads again once it can
  bool parsing_ = false;
  bool input_ended_ = false;
  bool sent_continue_ = false;
  bool close_after_flush_ = false;
  bool broken_ = false;  // close() is posted
};

// The handle a handler gets. Holds its connection; dropping it from any thread is safe.
std::shared_ptr<Responder> make_responder(std::shared_ptr<Connection> connection,
                                          uint64_t exchange_id);

}  // namespace sparrow::http
