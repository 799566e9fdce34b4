#pragma once
// RequestParser: bytes in, Request out, no socket: tests drive it byte by byte. Beast reads the
// head; what Beast lets pass and request smuggling lives on (two lengths, folded lines, bare line
// feeds, unknown codings) is refused here. The result does not depend on how the bytes were split.
// Belongs to one connection. A failed parser stays failed: after a framing error nothing that
// follows can be trusted.
//
//   size_t used = parser.feed(bytes);   // stops behind the request
//   if (parser.state() == RequestParser::State::kComplete) handle(parser.take());

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/chunked_decoder.h"
#include "http/http_types.h"

namespace sparrow::http {

struct ParserLimits {
  size_t max_request_line_bytes = 8u << 10;  // 414
  size_t max_header_line_bytes = 16u << 10;  // 431, as the two below
  size_t max_header_bytes = 64u << 10;
  size_t max_num_headers = 128;
  size_t max_body_bytes = 16u << 20;  // 413, before the body is read
};

struct ProtocolError {
  int status = 400;
  std::string message;
};

class RequestParser {
 public:
  enum class State { kIdle, kHead, kBody, kComplete, kFailed };

  explicit RequestParser(const ParserLimits& limits) : limits_(limits) {}

  size_t feed(std::string_view bytes);
  State state() const { return state_; }
  const ProtocolError& error() const { return error_; }

  // Of the request whose head is read.
  bool keep_alive() const { return keep_alive_; }
  bool is_http_10() const { return is_http_10_; }
  bool expects_continue() const { return expects_continue_; }
  size_t num_body_bytes() const { return request_.body.size(); }

  // In kComplete. The parser is then ready for the next request.
  Request take();
  // The request as far as it is known (an error answer wants method and origin). Nothing more is
  // parsed afterwards.
  Request give_up();

 private:
  size_t feed_head(std::string_view bytes);
  void take_head_byte(char c);
  void finish_head();
  void check_framing();
  void parse_head();
  size_t feed_body(std::string_view bytes);
  void fail(int status, std::string message);

  const ParserLimits limits_;
  State state_ = State::kIdle;
  ProtocolError error_;
  std::string head_;
  size_t line_start_ = 0;
  size_t num_lines_ = 0;
  size_t num_leading_bytes_ = 0;  // empty lines before the request line
  bool keep_alive_ = false;
  bool is_http_10_ = false;
  bool expects_continue_ = false;
  uint64_t content_length_ = 0;
  std::optional<ChunkedDecoder> chunked_;
  Request request_;
};

}  // namespace sparrow::http
