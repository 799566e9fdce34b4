#pragma once
// HttpClient: one GET at a time over http or https, by libcurl (http_client.cc is the only file
// that names it). Redirects are followed here, not by the library: at most 5, never from https to
// http, and the token goes only to the origin (scheme, host, port) it was given for. Proxies come
// from the usual variables (https_proxy, no_proxy). Belongs to one thread; `stop` may be set by a
// signal.
//
// Everything a server sends is bounded: header values of interest, error bodies; a body goes to the
// caller piece by piece.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow {

struct HttpClientOptions {
  int connect_timeout_s = 10;
  int stall_timeout_s = 10;  // a transfer without a byte for so long is broken
  std::string ca_file;       // certificates to trust; empty: the system's
  const std::atomic<bool>* stop = nullptr;
};

struct HttpRequest {
  std::string url;
  std::string token;    // Bearer; empty: none
  int64_t offset = 0;   // above 0: ask for the bytes from here on
  int max_seconds = 0;  // of the whole request; 0: no bound
};

// What the last answer said, after redirects. Text from the server is printable and bounded.
struct HttpHead {
  int status = 0;
  int64_t content_length = -1;  // -1: not said
  int64_t range_begin = -1;     // of Content-Range
  int64_t range_total = -1;
  bool encoded = false;  // Content-Encoding: lengths are not those of the content
  int retry_after_s = 0;
  std::string error_code;     // X-Error-Code
  std::string error_message;  // X-Error-Message
  std::string next_url;       // Link: <...>; rel="next"
};

struct HttpHandlers {
  // Once, before the body, for 200 and 206 only; an error ends the request.
  std::function<Status(const HttpHead&)> on_head;
  std::function<Status(std::string_view)> on_body;
};

class HttpClient {
 public:
  explicit HttpClient(const HttpClientOptions& options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // An answer of any status is a result. Errors: kUnavailable = no connection, or a broken one
  // (worth another try); kCancelled = stopped; a handler's; others = the answer may not be
  // followed.
  Result<HttpHead> get(const HttpRequest& request, const HttpHandlers& handlers);

 private:
  struct State;
  Result<HttpHead> get_once(const HttpRequest& request, const HttpHandlers& handlers,
                            std::string& location);
  std::unique_ptr<State> state_;
};

// Same scheme, host and port; false when either is not an address.
bool same_origin(const std::string& a, const std::string& b);
// One part of an address with everything escaped that is not a plain letter, digit, '-', '.', '_'.
std::string escape_url_part(std::string_view text);

}  // namespace sparrow
