#include "http/request_parser.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <limits>

#include "base/check.h"
#include "http/target.h"

namespace sparrow::http {
namespace {

namespace beast_http = boost::beast::http;

constexpr size_t kMaxLeadingBytes = 8;           // RFC 9112 2.2: at least one empty line is ignored
constexpr size_t kFirstBodyReserve = 64u << 10;  // a claimed length is never allocated at once

bool is_token_char(char c) {
  if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// METHOD TARGET HTTP/d.d
bool names_a_version(std::string_view line) {
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || line.find(' ', first + 1) != last) return false;
  const std::string_view version = line.substr(last + 1);
  return version.size() == 8 && version.starts_with("HTTP/") && all_digits(version.substr(5, 1)) &&
         version[6] == '.' && all_digits(version.substr(7));
}

}  // namespace

void RequestParser::fail(int status, std::string message) {
  state_ = State::kFailed;
  error_ = {status, std::move(message)};
}

size_t RequestParser::feed(std::string_view bytes) {
  size_t used = 0;
  if (state_ == State::kIdle || state_ == State::kHead) used = feed_head(bytes);
  if (state_ == State::kBody) used += feed_body(bytes.substr(used));
  return used;
}

size_t RequestParser::feed_head(std::string_view bytes) {
  size_t used = 0;
  while (used < bytes.size() && (state_ == State::kIdle || state_ == State::kHead)) {
    take_head_byte(bytes[used++]);
  }
  return used;
}

void RequestParser::take_head_byte(char c) {
  if (state_ == State::kIdle) {
    if (c == '\r' || c == '\n') {
      if (++num_leading_bytes_ > kMaxLeadingBytes) fail(400, "empty lines instead of a request");
      return;
    }
    if (!is_token_char(c)) return fail(400, "this is not HTTP; speak plain HTTP/1.1 to this port");
    state_ = State::kHead;
    head_.push_back(c);
    return;
  }
  const char previous = head_.back();
  const bool at_line_start = line_start_ == head_.size();
  if ((previous == '\r') != (c == '\n')) return fail(400, "a line does not end with CR LF");
  const auto code = static_cast<unsigned char>(c);
  if ((code < 0x20 && c != '\r' && c != '\n' && c != '\t') || code == 0x7f) {
    return fail(400, "control character in the request head");
  }
  if (at_line_start && (c == ' ' || c == '\t')) return fail(400, "folded header lines are refused");
  head_.push_back(c);
  const size_t line_len = head_.size() - line_start_;
  const size_t max_line_bytes = std::min(limits_.max_request_line_bytes, limits_.max_header_bytes);
  if (num_lines_ == 0 && line_len > max_line_bytes) {
    return fail(414,
                "the request line is longer than " + std::to_string(max_line_bytes) + " bytes");
  }
  if (head_.size() > limits_.max_header_bytes) {
    return fail(431, "the request headers are larger than " +
                         std::to_string(limits_.max_header_bytes) + " bytes");
  }
  if (line_len > limits_.max_header_line_bytes) {
    return fail(431, "a request header is longer than " +
                         std::to_string(limits_.max_header_line_bytes) + " bytes");
  }
  if (c != '\n') return;
  if (line_len == 2) return finish_head();
  line_start_ = head_.size();
  if (++num_lines_ > limits_.max_num_headers + 1) {
    fail(431, "more than " + std::to_string(limits_.max_num_headers) + " request headers");
  }
}

void RequestParser::parse_head() {
  beast_http::request_parser<beast_http::empty_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(
      std::min<size_t>(limits_.max_header_bytes + 1, std::numeric_limits<std::uint32_t>::max())));
  parser.body_limit(boost::none);
  boost::beast::error_code error;
  parser.put(boost::asio::const_buffer(head_.data(), head_.size()), error);
  if (error && error != beast_http::error::need_more) {
    const std::string_view line = std::string_view(head_).substr(0, head_.find('\r'));
    const bool version = error == beast_http::error::bad_version && names_a_version(line);
    return fail(version ? 505 : 400, version ? "only HTTP/1.0 and HTTP/1.1 are spoken here"
                                             : "malformed request: " + error.message());
  }
  if (!parser.is_header_done()) return fail(400, "malformed request");
  const auto& message = parser.get();
  request_.method = std::string(message.method_string());
  request_.target = std::string(message.target());
  for (const auto& field : message) {
    const auto name = field.name_string();
    const auto value = field.value();
    request_.headers.emplace_back(lower({name.data(), name.size()}),
                                  std::string(value.data(), value.size()));
  }
  is_http_10_ = message.version() == 10;
  keep_alive_ = parser.keep_alive();
  content_length_ = parser.content_length().value_or(0);
}

void RequestParser::check_framing() {
  size_t num_hosts = 0, num_lengths = 0, num_codings = 0;
  for (const auto& [name, value] : request_.headers) {
    if (name == "host") {
      ++num_hosts;
    } else if (name == "content-length") {
      ++num_lengths;
      if (!all_digits(value)) return fail(400, "Content-Length is not a number");
    } else if (name == "transfer-encoding") {
      ++num_codings;
      if (lower(value) != "chunked") return fail(400, "the only Transfer-Encoding is chunked");
    } else if (name == "expect") {
      if (lower(value) != "100-continue") return fail(417, "the only Expect is 100-continue");
      expects_continue_ = !is_http_10_;
    }
  }
  if (num_hosts > 1) return fail(400, "more than one Host header");
  if (num_hosts == 0 && !is_http_10_) return fail(400, "the Host header is missing");
  if (num_lengths > 1) return fail(400, "more than one Content-Length");
  if (num_codings > 1) return fail(400, "more than one Transfer-Encoding");
  if (num_codings != 0 && num_lengths != 0) {
    return fail(400, "Content-Length and Transfer-Encoding together");
  }
  if (num_codings != 0 && is_http_10_) return fail(400, "Transfer-Encoding in HTTP/1.0");
  if (num_codings != 0) chunked_.emplace(limits_.max_body_bytes);
  if (content_length_ > limits_.max_body_bytes) {
    fail(413, "the request body has " + std::to_string(content_length_) + " bytes, the limit is " +
                  std::to_string(limits_.max_body_bytes));
  }
}

void RequestParser::finish_head() {
  parse_head();
  head_.clear();
  if (head_.capacity() > 4096) head_.shrink_to_fit();
  if (state_ == State::kFailed) return;
  check_framing();
  if (state_ == State::kFailed) return;
  std::optional<Target> target = parse_target(request_.target);
  if (!target || (target->path == "*" && request_.method != "OPTIONS")) {
    return fail(400, "malformed request target");
  }
  request_.path = std::move(target->path);
  request_.query = std::move(target->query);
  if (!chunked_ && content_length_ == 0) {
    expects_continue_ = false;
    state_ = State::kComplete;
    return;
  }
  state_ = State::kBody;
  request_.body.reserve(
      static_cast<size_t>(std::min<uint64_t>(content_length_, kFirstBodyReserve)));
}

size_t RequestParser::feed_body(std::string_view bytes) {
  if (!chunked_) {
    const size_t missing = static_cast<size_t>(content_length_) - request_.body.size();
    const size_t used = std::min(missing, bytes.size());
    request_.body.append(bytes.substr(0, used));
    if (used == missing) state_ = State::kComplete;
    return used;
  }
  const size_t used = chunked_->feed(bytes, request_.body);
  switch (chunked_->state()) {
    case ChunkedDecoder::State::kMore:
      break;
    case ChunkedDecoder::State::kDone:
      state_ = State::kComplete;
      break;
    case ChunkedDecoder::State::kMalformed:
      fail(400, "malformed chunked body");
      break;
    case ChunkedDecoder::State::kTooLarge:
      fail(413,
           "the request body is larger than " + std::to_string(limits_.max_body_bytes) + " bytes");
      break;
  }
  return used;
}

Request RequestParser::take() {
  CHECK(state_ == State::kComplete);
  Request request = std::move(request_);
  request_ = Request();
  chunked_.reset();
  content_length_ = 0;
  line_start_ = num_lines_ = num_leading_bytes_ = 0;
  expects_continue_ = false;
  state_ = State::kIdle;
  return request;
}

Request RequestParser::give_up() {
  if (state_ != State::kFailed) fail(400, "given up");
  Request request = std::move(request_);
  request_ = Request();
  return request;
}

}  // namespace sparrow::http
