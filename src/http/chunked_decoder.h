#pragma once
// ChunkedDecoder: the chunked transfer coding of RFC 9112 section 7.1, one byte stream at a time.
// Own code because Beast 345's parser asserts when the last chunk arrives in small pieces, and
// because extensions and trailers need bounds. Extensions and trailers are read and ignored.
// Belongs to one connection.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sparrow::http {

class ChunkedDecoder {
 public:
  enum class State { kMore, kDone, kMalformed, kTooLarge };

  static constexpr size_t kMaxExtensionBytes = 1024;  // of one chunk
  static constexpr size_t kMaxTrailerBytes = 8192;

  explicit ChunkedDecoder(size_t max_body_bytes) : max_body_bytes_(max_body_bytes) {}

  // Appends decoded bytes to `body`; returns how many of `bytes` were used. Stops at the end.
  size_t feed(std::string_view bytes, std::string& body);
  State state() const { return state_; }

 private:
  enum class Expect {
    kSize,
    kExtension,
    kSizeEnd,
    kData,
    kDataReturn,
    kDataEnd,
    kTrailerLine,
    kTrailerText,
    kTrailerEnd,
    kLastEnd
  };

  void take(char c, size_t body_bytes);
  void take_size(char c, size_t body_bytes);
  void begin_data();

  const size_t max_body_bytes_;
  State state_ = State::kMore;
  Expect expect_ = Expect::kSize;
  uint64_t chunk_len_ = 0;
  int num_digits_ = 0;
  size_t extension_bytes_ = 0;
  size_t trailer_bytes_ = 0;
};

}  // namespace sparrow::http
