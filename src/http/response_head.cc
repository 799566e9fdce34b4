#include "http/response_head.h"

#include <atomic>
#include <ctime>

#include "base/random.h"

namespace sparrow::http {
namespace {

struct Reason {
  int status;
  std::string_view phrase;
};

constexpr Reason kReasons[] = {
    {100, "Continue"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

bool equals_ignoring_case(std::string_view a, std::string_view lower) {
  if (a.size() != lower.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const char c = a[i] >= 'A' && a[i] <= 'Z' ? static_cast<char>(a[i] - 'A' + 'a') : a[i];
    if (c != lower[i]) return false;
  }
  return true;
}

void append_clean(std::string& out, std::string_view text) {
  for (char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if ((code >= 0x20 && code != 0x7f) || c == '\t') out.push_back(c);
  }
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  append_clean(out, name);
  out += ": ";
  append_clean(out, value);
  out += "\r\n";
}

// Framing is the server's business: a handler that names it would only contradict us.
bool is_framing(std::string_view name) {
  return equals_ignoring_case(name, "content-length") ||
         equals_ignoring_case(name, "transfer-encoding") ||
         equals_ignoring_case(name, "connection");
}

}  // namespace

std::string_view reason_phrase(int status) {
  for (const Reason& reason : kReasons) {
    if (reason.status == status) return reason.phrase;
  }
  return "Unknown";
}

bool status_has_body(int status) { return status >= 200 && status != 204 && status != 304; }

void append_response_head(std::string& out, const ResponseHead& head) {
  out += "HTTP/1.1 ";
  out += std::to_string(head.status);
  out += ' ';
  out += reason_phrase(head.status);
  out += "\r\n";
  if (!head.date.empty()) append_field(out, "Date", head.date);
  if (!head.content_type.empty() && status_has_body(head.status)) {
    append_field(out, "Content-Type", head.content_type);
  }
  bool has_request_id = head.request_id.empty();
  for (const Headers* headers : {head.headers, head.more_headers}) {
    if (headers == nullptr) continue;
    for (const auto& [name, value] : *headers) {
      if (is_framing(name)) continue;
      has_request_id = has_request_id || equals_ignoring_case(name, "x-request-id");
      append_field(out, name, value);
    }
  }
  if (!has_request_id) append_field(out, "x-request-id", head.request_id);
  if (head.content_length && status_has_body(head.status)) {
    append_field(out, "Content-Length", std::to_string(*head.content_length));
  }
  if (head.chunked) out += "Transfer-Encoding: chunked\r\n";
  if (!head.keep_alive) {
    out += "Connection: close\r\n";
  } else if (head.http_10) {
    out += "Connection: keep-alive\r\n";
  }
  out += "\r\n";
}

void append_chunk(std::string& out, std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  char size[16];
  size_t num_digits = 0;
  for (size_t rest = bytes.size(); rest != 0; rest >>= 4) size[num_digits++] = kDigits[rest & 15];
  while (num_digits != 0) out.push_back(size[--num_digits]);
  out += "\r\n";
  out += bytes;
  out += "\r\n";
}

std::string_view DateCache::at(long long unix_seconds) {
  if (unix_seconds != second_) {
    second_ = unix_seconds;
    const time_t time = static_cast<time_t>(unix_seconds);
    tm utc{};
    gmtime_r(&time, &utc);
    char buffer[64];
    const size_t len = strftime(buffer, sizeof buffer, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    text_.assign(buffer, len);
  }
  return text_;
}

std::optional<std::string> sane_request_id(std::string_view text) {
  if (text.empty() || text.size() > 128) return std::nullopt;
  for (char c : text) {
    const bool letter = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && (c == '\0' || std::string_view("._:/+=@-").find(c) == std::string_view::npos)) {
      return std::nullopt;
    }
  }
  return std::string(text);
}

std::string new_request_id() {
  static const uint64_t seed = entropy64();
  static std::atomic<uint64_t> counter{0};
  // mix64 is a bijection: ids of one process never repeat.
  uint64_t bits = mix64(seed + counter.fetch_add(1, std::memory_order_relaxed));
  std::string id = "req-0000000000000000";
  for (size_t i = id.size(); i > 4; bits >>= 4) id[--i] = "0123456789abcdef"[bits & 15];
  return id;
}

}  // namespace sparrow::http
