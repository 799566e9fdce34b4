#pragma once
// HttpServer: HTTP/1.1 over Boost.Beast: connections, limits, deadlines, streams. It routes
// nothing: every complete request goes to one handler. Errors before a request is complete (too
// large, too slow, malformed) are answered here through `protocol_error`.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "http/access.h"
#include "http/http_types.h"

namespace sparrow::http {

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;               // 0: any free port, see HttpServer::port()
  std::vector<uint16_t> extra_ports;  // same handler, e.g. --ui-port
  std::string port_flag = "--port";   // what errors about the port name
  int num_io_threads = 1;
  size_t max_header_bytes = 64u << 10;
  size_t max_body_bytes = 16u << 20;
  // Of all requests together; beyond it 503, from 7/8 on for bodies of more than 64 KiB.
  size_t max_total_body_bytes = 512u << 20;
  size_t max_connections = 12'288;
  uint64_t max_requests_per_connection = 100'000;  // then it closes
  size_t max_unsent_bytes = 1u << 20;  // per stream; beyond it the slow reader is dropped
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds body_timeout{30'000};  // and a millisecond for every 64 bytes
  std::chrono::milliseconds keep_alive_timeout{75'000};
  std::chrono::milliseconds write_timeout{30'000};  // without a byte of progress
  CorsOptions cors;
  // PEM files; with them every port speaks TLS (1.2 or later) and nothing else. The key may stand
  // in the certificate's file.
  std::string tls_certificate_file;
  std::string tls_key_file;
  // Names beside localhost and IP addresses that a client may put into Host while `host` is a
  // loopback address (against DNS rebinding); others get 403. "*": any.
  std::vector<std::string> allowed_hosts;
  // Called for each connection beyond max_connections, by IO threads; may be empty.
  std::function<void()> on_refused_connection;
};

class HttpServer {
 public:
  // `protocol_error` makes the body for a status the server itself answers (400, 408, 413, 431...).
  HttpServer(ServerOptions options, Handler handler,
             std::function<Response(int status, std::string_view message)> protocol_error);
  ~HttpServer();

  // Reads the certificate, binds and starts the IO threads. The error names the file, or the
  // address and, if taken, says so.
  Status start();
  uint16_t port() const;
  std::vector<IoLoop*> loops();
  size_t num_connections() const;
  size_t num_body_bytes() const;  // of requests, received and not yet answered
  // No new connections; answers in progress go on and close behind them, idle connections close.
  // From any thread, returns at once.
  void stop_accepting();
  // Ends answers in progress (their on_close fires), lets queued bytes leave for at most a second,
  // joins the threads. Tasks posted from then on are dropped. Not from an IO thread.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sparrow::http
