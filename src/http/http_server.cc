#include "http/http_server.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/check.h"
#include "base/log.h"
#include "http/connection.h"
#include "http/io_loop.h"

namespace sparrow::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr auto kUseTuple = asio::as_tuple(asio::use_awaitable);
constexpr int kListenBacklog = 4096;  // the kernel caps it at net.core.somaxconn
constexpr std::chrono::milliseconds kStopFlushTimeout{1000};
// Out of file descriptors: new clients wait in the backlog instead of a spinning accept.
constexpr std::chrono::milliseconds kAcceptBackoff{50};
// A renewed certificate counts within two of these.
constexpr std::chrono::milliseconds kFilesInterval{500};

std::string address_text(const std::string& host, uint16_t port) {
  const bool is_v6 = host.find(':') != std::string::npos && host.front() != '[';
  return (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string remote_text(const tcp::socket& socket) {
  error_code error;
  const tcp::endpoint endpoint = socket.remote_endpoint(error);
  if (error) return "unknown";
  return address_text(endpoint.address().to_string(), endpoint.port());
}

Status bind_error(const ServerOptions& options, uint16_t port, const error_code& error) {
  const std::string& host = options.host;
  const std::string next_step = "; choose another with " + options.port_flag;
  const std::string address = address_text(host, port);
  if (error == asio::error::address_in_use) {
    return failed_precondition("address already in use: " + address +
                               " (is another server running?)" + next_step);
  }
  if (error == asio::error::access_denied) {
    return failed_precondition("not allowed to listen on " + address +
                               " (ports below 1024 need privileges)" + next_step);
  }
  return failed_precondition("cannot listen on " + address + ": " + error.message() +
                             "; choose another address with --host");
}

// A numeric address, or what the name resolves to, IPv4 first.
Result<asio::ip::address> resolve_host(asio::io_context& context, std::string host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  error_code error;
  const asio::ip::address address = asio::ip::make_address(host, error);
  if (!error) return address;
  tcp::resolver resolver(context);
  const auto found = resolver.resolve(host, "", error);
  if (error || found.empty()) {
    return invalid_argument("--host " + host + " is neither an address nor a name that resolves");
  }
  for (const auto& entry : found) {
    if (entry.endpoint().address().is_v4()) return entry.endpoint().address();
  }
  return found.begin()->endpoint().address();
}

// Deadlines are checked by one tick a loop: a stream would otherwise re-arm a timer per token.
std::chrono::milliseconds tick_interval(const ServerOptions& options) {
  const auto shortest = std::min({options.header_timeout, options.body_timeout,
                                  options.keep_alive_timeout, options.write_timeout});
  return std::clamp(shortest / 8, std::chrono::milliseconds(5), std::chrono::milliseconds(500));
}

// A client of TLS could not read it, and just finds the connection closed.
void refuse_connection(tcp::socket socket) {
  constexpr std::string_view kBusy =
      "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
      "Connection: close\r\n\r\n";
  error_code error;
  socket.non_blocking(true, error);
  socket.write_some(asio::buffer(kBusy), error);
  socket.shutdown(tcp::socket::shutdown_send, error);
}

}  // namespace

struct HttpServer::Impl {
  std::shared_ptr<ServerShared> shared = std::make_shared<ServerShared>();
  std::vector<std::shared_ptr<LoopContext>> contexts;
  std::vector<tcp::acceptor> acceptors;  // of loop 0; the first is the main port
  uint16_t port = 0;
  size_t next_loop = 0;
  bool started = false;
  TimePoint stop_deadline = TimePoint::max();  // written before the loops see `stopping`

  Status listen(const asio::ip::address& address, uint16_t wanted_port);
  asio::awaitable<void> accept_loop(tcp::acceptor* acceptor);
  asio::awaitable<void> tick_loop(std::shared_ptr<LoopContext> context);
  void adopt(tcp::socket socket, std::shared_ptr<LoopContext> context);
  void close_acceptors();
};

Status HttpServer::Impl::listen(const asio::ip::address& address, uint16_t wanted_port) {
  const tcp::endpoint endpoint(address, wanted_port);
  tcp::acceptor acceptor(contexts[0]->loop->context());
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  // Not SO_REUSEPORT: with it a second server of this user would start and steal clients.
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error && address.is_v6()) {
    acceptor.set_option(asio::ip::v6_only(!address.is_unspecified()), error);
  }
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(kListenBacklog, error);
  if (error) return bind_error(shared->options, wanted_port, error);
  acceptors.push_back(std::move(acceptor));
  return ok_status();
}

asio::awaitable<void> HttpServer::Impl::accept_loop(tcp::acceptor* acceptor) {
  asio::steady_timer backoff(acceptor->get_executor());
  while (acceptor->is_open()) {
    std::shared_ptr<LoopContext> context = contexts[next_loop++ % contexts.size()];
    auto [error, socket] = co_await acceptor->async_accept(context->loop->context(), kUseTuple);
    if (error == asio::error::operation_aborted) co_return;
    if (error == asio::error::no_descriptors || error == asio::error::no_buffer_space ||
        error == asio::error::no_memory ||
        error == error_code(ENFILE, boost::system::system_category())) {
      log_warning("http: cannot accept: {}; raise the limit with ulimit -n", error.message());
      backoff.expires_after(kAcceptBackoff);
      co_await backoff.async_wait(kUseTuple);
      continue;
    }
    if (error) continue;  // the client left between connecting and being accepted
    try {
      adopt(std::move(socket), std::move(context));
    } catch (const std::exception& failure) {  // no memory for this client; the next may be luckier
      log_error("http: a client was turned away: {}", failure.what());
    }
  }
}

void HttpServer::Impl::adopt(tcp::socket socket, std::shared_ptr<LoopContext> context) {
  auto& count = shared->num_connections;
  if (count.fetch_add(1, std::memory_order_relaxed) >= shared->options.max_connections) {
    count.fetch_sub(1, std::memory_order_relaxed);
    if (shared->options.on_refused_connection) shared->options.on_refused_connection();
    if (shared->tls == nullptr) refuse_connection(std::move(socket));
    return;
  }
  std::shared_ptr<Connection> connection;
  try {
    std::string remote = remote_text(socket);
    connection = std::make_shared<Connection>(context, std::move(socket), std::move(remote));
  } catch (...) {
    count.fetch_sub(1, std::memory_order_relaxed);
    throw;
  }
  const auto begin = [connection, context] {
    context->connections.insert(connection);
    connection->start();
    if (context->draining) connection->drain();
    if (context->stopping) connection->stop();
  };
  if (context->loop->on_this_thread()) return begin();
  context->loop->post(begin);
}

asio::awaitable<void> HttpServer::Impl::tick_loop(std::shared_ptr<LoopContext> context) {
  asio::steady_timer timer(context->loop->context());
  const auto interval = tick_interval(shared->options);
  std::vector<std::shared_ptr<Connection>> seen;
  TimePoint files_looked_at = RealClock().now();
  for (;;) {
    timer.expires_after(interval);
    auto [error] = co_await timer.async_wait(kUseTuple);
    if (error) co_return;
    const TimePoint now = RealClock().now();
    const bool late = context->stopping && now >= stop_deadline;
    try {
      seen.assign(context->connections.begin(), context->connections.end());
      for (const auto& connection : seen) late ? connection->close() : connection->sweep(now);
      if (shared->tls && context == contexts.front() && now >= files_looked_at + kFilesInterval) {
        files_looked_at = now;
        shared->tls->reload_if_changed();
      }
    } catch (const std::exception& failure) {  // the deadlines are looked at again next time
      log_error("http: a round of deadlines failed: {}", failure.what());
    }
    seen.clear();
  }
}

void HttpServer::Impl::close_acceptors() {
  error_code error;
  for (auto& acceptor : acceptors) acceptor.close(error);
}

HttpServer::HttpServer(ServerOptions options, Handler handler,
                       std::function<Response(int status, std::string_view message)> protocol_error)
    : impl_(std::make_unique<Impl>()) {
  CHECK(options.num_io_threads >= 1);
  CHECK(handler != nullptr && protocol_error != nullptr);
  impl_->shared->checks_host = is_loopback_address(options.host);
  impl_->shared->options = std::move(options);
  impl_->shared->handler = std::move(handler);
  impl_->shared->protocol_error = std::move(protocol_error);
}

HttpServer::~HttpServer() { stop(); }

Status HttpServer::start() {
  CHECK(!impl_->started && impl_->contexts.empty());
  const ServerOptions& options = impl_->shared->options;
  if (!options.tls_certificate_file.empty()) {
    ASSIGN_OR_RETURN(impl_->shared->tls,
                     make_tls_context(options.tls_certificate_file, options.tls_key_file));
  }
  for (int index = 0; index < options.num_io_threads; ++index) {
    auto context = std::make_shared<LoopContext>();
    context->shared = impl_->shared;
    context->loop = std::make_shared<AsioLoop>(index);
    impl_->contexts.push_back(std::move(context));
  }
  ASSIGN_OR_RETURN(const asio::ip::address address,
                   resolve_host(impl_->contexts[0]->loop->context(), options.host));
  RETURN_IF_ERROR(impl_->listen(address, options.port));
  for (uint16_t port : options.extra_ports) RETURN_IF_ERROR(impl_->listen(address, port));
  error_code error;
  impl_->port = impl_->acceptors[0].local_endpoint(error).port();
  for (auto& context : impl_->contexts) {
    asio::co_spawn(context->loop->context(), impl_->tick_loop(context), log_if_failed);
  }
  for (auto& acceptor : impl_->acceptors) {
    asio::co_spawn(acceptor.get_executor(), impl_->accept_loop(&acceptor), log_if_failed);
  }
  for (auto& context : impl_->contexts) RETURN_IF_ERROR(context->loop->start());
  impl_->started = true;
  return ok_status();
}

uint16_t HttpServer::port() const { return impl_->port; }

std::vector<IoLoop*> HttpServer::loops() {
  std::vector<IoLoop*> loops;
  for (auto& context : impl_->contexts) loops.push_back(context->loop.get());
  return loops;
}

size_t HttpServer::num_connections() const {
  return impl_->shared->num_connections.load(std::memory_order_relaxed);
}

size_t HttpServer::num_body_bytes() const {
  return impl_->shared->num_body_bytes.load(std::memory_order_relaxed);
}

void HttpServer::stop_accepting() {
  if (!impl_->started) return;
  impl_->contexts[0]->loop->post([impl = impl_.get()] { impl->close_acceptors(); });
  for (auto& context : impl_->contexts) {
    context->loop->post([context] {
      context->draining = true;
      const auto connections = context->connections;
      for (const auto& connection : connections) connection->drain();
    });
  }
}

void HttpServer::stop() {
  if (impl_->started) {
    stop_accepting();
    impl_->stop_deadline = RealClock().now() + kStopFlushTimeout;
    for (auto& context : impl_->contexts) {
      context->loop->post([context] {
        context->stopping = true;
        const auto connections = context->connections;
        for (const auto& connection : connections) connection->stop();
        if (context->connections.empty()) context->loop->request_stop();
      });
    }
  }
  for (auto& context : impl_->contexts) {
    if (!impl_->started) context->loop->request_stop();
    context->loop->join_thread();
  }
  // Sockets first, on this one thread that is left; then what they belong to.
  impl_->acceptors.clear();
  for (auto& context : impl_->contexts) {
    const auto connections = context->connections;
    for (const auto& connection : connections) connection->close();
    context->loop->destroy();
  }
  impl_->contexts.clear();
  impl_->started = false;
}

}  // namespace sparrow::http
