#pragma once
// The bytes before a body: status line and header fields, chunk framing, the Date of the second.
// What a handler gives cannot split the head: control characters in names and values are dropped.
// Not thread-safe where `DateCache` is shared; each IO loop has its own.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/http_types.h"

namespace sparrow::http {

std::string_view reason_phrase(int status);
// 1xx, 204 and 304 have no body and no Content-Length.
bool status_has_body(int status);

struct ResponseHead {
  int status = 200;
  std::string_view content_type;
  const Headers* headers = nullptr;        // the handler's
  const Headers* more_headers = nullptr;   // the server's: CORS
  std::string_view request_id;             // sent as x-request-id unless a handler did
  std::string_view date;                   // empty: none
  std::optional<uint64_t> content_length;  // none: chunked, or until the connection closes
  bool chunked = false;
  bool keep_alive = true;
  bool http_10 = false;
};

void append_response_head(std::string& out, const ResponseHead& head);
void append_chunk(std::string& out, std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7), made once a second.
class DateCache {
 public:
  std::string_view at(long long unix_seconds);

 private:
  long long second_ = -1;
  std::string text_;
};

// The client's id when it is 1..128 characters of [A-Za-z0-9._:/+=@-], else nothing.
std::optional<std::string> sane_request_id(std::string_view text);
// "req-" and 16 hexadecimal digits, unique in the process. Thread-safe.
std::string new_request_id();

}  // namespace sparrow::http
