// The part of Connection that knows requests and answers; bytes and waiting are in connection.cc.
#include "base/check.h"
#include "base/log.h"
#include "http/connection.h"

namespace sparrow::http {

void Connection::dispatch() {
  Request request = parser_.take();
  sent_continue_ = false;
  request.remote_address = remote_address_;
  request.request_id = sane_request_id(request.header("x-request-id")).value_or("");
  if (request.request_id.empty()) request.request_id = new_request_id();
  Exchange& exchange = exchange_.emplace(Exchange{});
  exchange.id = ++num_exchanges_;
  exchange.http_10 = parser_.is_http_10();
  exchange.keep_alive = parser_.keep_alive() && !context_->draining &&
                        num_exchanges_ < options_.max_requests_per_connection;
  exchange.without_body = request.method == "HEAD";
  exchange.cors = cors_headers(options_.cors, request);
  exchange.request = std::make_shared<const Request>(std::move(request));
  update_phase();
  const std::shared_ptr<const Request> shared_request = exchange.request;
  if (context_->shared->checks_host &&
      !is_allowed_host(shared_request->header("host"), options_.allowed_hosts)) {
    send(exchange.id, context_->shared->protocol_error(
                          403,
                          "this Host is not served on a loopback address; allow it with "
                          "--allowed-hosts"));
  } else if (is_preflight(*shared_request)) {
    send(exchange.id, preflight_response(options_.cors, *shared_request));
  } else {
    run_handler(shared_request);
  }
}

void Connection::run_handler(std::shared_ptr<const Request> request) {
  const uint64_t exchange_id = num_exchanges_;
  const std::string request_id = request->request_id;
  // One request's exception (bad_alloc among them) must not end the others.
  try {
    context_->shared->handler(std::move(request), make_responder(shared_from_this(), exchange_id));
  } catch (const std::exception& error) {
    log_event(LogLevel::kError, fmt::format("http: a handler threw: {}", error.what()),
              {{"request_id", request_id}});
    abandon(exchange_id);
  } catch (...) {
    log_event(LogLevel::kError, "http: a handler threw an unknown exception",
              {{"request_id", request_id}});
    abandon(exchange_id);
  }
}

Connection::Exchange* Connection::exchange(uint64_t exchange_id) {
  DCHECK(loop().on_this_thread());
  return is_open(exchange_id) ? &*exchange_ : nullptr;
}

bool Connection::is_open(uint64_t exchange_id) const {
  return exchange_ && exchange_->id == exchange_id && !broken_;
}

void Connection::send(uint64_t exchange_id, Response response) {
  Exchange* current = exchange(exchange_id);
  if (current == nullptr || current->started) return;
  send_whole(response);
  end_exchange();
}

void Connection::send_whole(const Response& response) {
  ResponseHead head;
  head.status = response.status;
  head.content_type = response.content_type;
  head.headers = &response.headers;
  head.more_headers = &exchange_->cors;
  head.request_id = exchange_->request->request_id;
  head.date = context_->date.at(unix_seconds());
  head.content_length = response.body.size();
  head.keep_alive = exchange_->keep_alive = exchange_->keep_alive && !context_->draining;
  head.http_10 = exchange_->http_10;
  append_response_head(output_, head);
  if (!exchange_->without_body && status_has_body(response.status)) output_ += response.body;
}

void Connection::start_stream(uint64_t exchange_id, int status, std::string_view content_type,
                              const Headers& headers) {
  Exchange* current = exchange(exchange_id);
  if (current == nullptr || current->started) return;
  current->started = true;
  current->without_body = current->without_body || !status_has_body(status);
  current->chunked = !current->http_10 && !current->without_body;
  current->event_stream = content_type.substr(0, 17) == "text/event-stream";
  // Without chunks only the end of the connection ends the answer.
  current->keep_alive = current->keep_alive && !current->http_10 && !context_->draining;
  ResponseHead head;
  head.status = status;
  head.content_type = content_type;
  head.headers = &headers;
  head.more_headers = &current->cors;
  head.request_id = current->request->request_id;
  head.date = context_->date.at(unix_seconds());
  head.chunked = current->chunked;
  head.keep_alive = current->keep_alive;
  head.http_10 = current->http_10;
  append_response_head(output_, head);
  flush();
}

bool Connection::write(uint64_t exchange_id, std::string_view bytes) {
  Exchange* current = exchange(exchange_id);
  if (current == nullptr || !current->started) return false;
  if (bytes.empty() || current->without_body) return true;
  if (current->chunked) {
    append_chunk(output_, bytes);
  } else {
    output_ += bytes;
  }
  flush();
  if (!broken_ && unsent_bytes() > options_.max_unsent_bytes) {
    log_debug("http: {} left {} bytes unread, dropped", remote_address_, unsent_bytes());
    close_soon();
  }
  return !broken_;
}

void Connection::finish(uint64_t exchange_id) {
  Exchange* current = exchange(exchange_id);
  if (current == nullptr || !current->started) return;
  if (current->chunked) output_ += kLastChunk;
  end_exchange();
}

void Connection::abandon(uint64_t exchange_id) {
  Exchange* current = exchange(exchange_id);
  if (current == nullptr) return;
  current->on_close = nullptr;
  if (current->started) return close();  // a cut chunked body is all that can still be said
  log_event(LogLevel::kError,
            fmt::format("http: {} {} was never answered", current->request->method,
                        current->request->path),
            {{"request_id", current->request->request_id}});
  send(exchange_id, context_->shared->protocol_error(500, "the request was dropped unanswered"));
}

void Connection::on_close(uint64_t exchange_id, std::function<void()> callback) {
  if (Exchange* current = exchange(exchange_id)) {
    current->on_close = std::move(callback);
  } else {
    loop().post(std::move(callback));  // already gone
  }
}

void Connection::when_sent(uint64_t exchange_id, std::function<void()> task) {
  Exchange* current = exchange(exchange_id);
  if (current == nullptr || unsent_bytes() == 0) return loop().post(std::move(task));
  current->when_sent = std::move(task);
}

void Connection::end_exchange() {
  if (!exchange_->keep_alive || context_->draining) close_after_flush_ = true;
  exchange_.reset();
  count_body_bytes();
  flush();
  if (broken_ || !socket_) return;
  if (parsing_) return;  // parse() goes on by itself
  update_phase();
  if (input_.empty() && !input_ended_) return arm_read();
  // The next handler does not run inside the send() of the one before.
  loop().post([self = shared_from_this()] { self->process_input(); });
}

void Connection::answer_protocol_error(int status, std::string_view message) {
  close_after_flush_ = true;
  const Request request = parser_.give_up();
  count_body_bytes();
  const Headers cors = cors_headers(options_.cors, request);
  const Response response = context_->shared->protocol_error(status, message);
  const std::string request_id = new_request_id();
  log_event(LogLevel::kDebug, fmt::format("http: {}: {} {}", remote_address_, status, message),
            {{"request_id", request_id}});
  ResponseHead head;
  head.status = status;
  head.content_type = response.content_type;
  head.headers = &response.headers;
  head.more_headers = &cors;
  head.request_id = request_id;
  head.date = context_->date.at(unix_seconds());
  head.content_length = response.body.size();
  head.keep_alive = false;
  append_response_head(output_, head);
  if (request.method != "HEAD") output_ += response.body;
  input_.clear();
  update_phase();
  flush();
}

}  // namespace sparrow::http
