#pragma once
// Request, Response and Responder: all that a handler sees of HTTP. Boost.Beast and Asio stay
// behind this header. A handler is a plain function, called on the IO thread of its connection.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sparrow {
struct LogField;
}

namespace sparrow::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string method;  // "GET"
  std::string target;  // as sent
  std::string path;    // decoded, without query; routed and authorised by this one string
  std::string query;   // without '?', not decoded
  Headers headers;     // names in lower case
  std::string body;
  std::string remote_address;
  std::string request_id;  // the client's sane X-Request-Id, else ours

  // First header of that (lower case) name, else empty.
  std::string_view header(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  Headers headers;
  std::string body;
};

// One IO thread. post() is thread-safe and cheap: one queue push and at most one eventfd write.
// Tasks run in the order they were posted; after the server stopped they are dropped unrun.
class IoLoop {
 public:
  virtual ~IoLoop() = default;
  virtual int index() const = 0;
  virtual void post(std::function<void()> task) = 0;
};

// The answer to one request. All calls on its loop's thread; use loop().post() from elsewhere.
// References may be held, copied and dropped on any thread, also after the server is gone; calls
// for a client that left do nothing. Exactly one of send() or start_stream()..finish() ends the
// exchange; dropping the last reference without either sends a 500, or cuts the stream off.
// HEAD, HTTP/1.0, keep-alive, Date and x-request-id are the server's business, not the handler's.
class Responder {
 public:
  virtual ~Responder() = default;
  virtual void send(Response response) = 0;
  virtual void start_stream(int status, std::string content_type, Headers headers) = 0;
  // Sends bytes at once, as one chunk; for text/event-stream these are whole events. False once
  // the client is gone or more than the bound is unsent (the connection is then being closed):
  // stop producing.
  virtual bool write(std::string bytes) = 0;
  virtual void finish() = 0;
  // Runs `task` once, on the loop's thread, as soon as all written bytes are with the kernel, or
  // the client is gone: for who could write more than a slow reader may leave unread. One at a
  // time; never inside this call.
  virtual void when_sent(std::function<void()> task) { loop().post(std::move(task)); }
  // Called once, on the loop's thread, if the client goes away (or the server stops) before the
  // end; never inside another call of this object, never after send() or finish().
  virtual void on_close(std::function<void()> callback) = 0;
  virtual bool closed() const = 0;
  virtual IoLoop& loop() = 0;
  // Facts about the answer for its line in the log, before the call that ends it. A responder that
  // keeps no log forgets them.
  virtual void log_with(const std::vector<LogField>&) {}
};

using Handler = std::function<void(std::shared_ptr<const Request>, std::shared_ptr<Responder>)>;

}  // namespace sparrow::http
