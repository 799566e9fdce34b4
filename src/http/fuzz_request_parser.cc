// Fuzz entry of the request parser. The first byte chooses how the bytes are split; a whole and a
// split reading of the same bytes must agree in everything that a handler or a client would see.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "http/request_parser.h"

namespace sparrow::http {
namespace {

// Every request and the refusal, as one text.
std::string read_all(std::string_view bytes, size_t piece_bytes) {
  ParserLimits limits;
  limits.max_request_line_bytes = 256;
  limits.max_header_bytes = 1024;
  limits.max_body_bytes = 512;
  RequestParser parser(limits);
  std::string seen;
  while (!bytes.empty()) {
    const size_t used = parser.feed(bytes.substr(0, piece_bytes));
    CHECK(used <= bytes.size());
    bytes.remove_prefix(used);
    CHECK(parser.num_body_bytes() <= limits.max_body_bytes);
    if (parser.state() == RequestParser::State::kFailed) {
      return seen + std::to_string(parser.error().status) + parser.error().message;
    }
    if (parser.state() != RequestParser::State::kComplete) continue;
    const Request request = parser.take();
    CHECK(request.path == "*" || request.path.front() == '/');
    seen += request.method + " " + request.path + " " + request.query + "\n";
    for (const auto& [name, value] : request.headers) {
      CHECK(value.find_first_of("\r\n") == std::string::npos);
      seen += name + ": " + value + "\n";
    }
    seen += request.body + "\n";
  }
  return seen;
}

}  // namespace
}  // namespace sparrow::http

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  CHECK(sparrow::http::read_all(bytes, size) ==
        sparrow::http::read_all(bytes, size_t{data[0]} % 16 + 1));
  return 0;
}
