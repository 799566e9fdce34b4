#include "http/chunked_decoder.h"

#include <algorithm>

#include "http/target.h"

namespace sparrow::http {
namespace {

// 15 digits cannot overflow 64 bits, and no sane chunk is near 2^60 bytes.
constexpr int kMaxSizeDigits = 15;

// Also a line feed without its carriage return.
bool is_control(char c) {
  const auto code = static_cast<unsigned char>(c);
  return (code < 0x20 && c != '\t') || code == 0x7f;
}

}  // namespace

size_t ChunkedDecoder::feed(std::string_view bytes, std::string& body) {
  size_t used = 0;
  while (used < bytes.size() && state_ == State::kMore) {
    if (expect_ == Expect::kData) {
      const size_t take_len =
          static_cast<size_t>(std::min<uint64_t>(chunk_len_, bytes.size() - used));
      body.append(bytes.substr(used, take_len));
      used += take_len;
      chunk_len_ -= take_len;
      if (chunk_len_ == 0) expect_ = Expect::kDataReturn;
      continue;
    }
    take(bytes[used++], body.size());
  }
  return used;
}

void ChunkedDecoder::take_size(char c, size_t body_bytes) {
  const int digit = hex_value(c);
  if (digit >= 0) {
    if (++num_digits_ > kMaxSizeDigits) {
      state_ = State::kMalformed;
      return;
    }
    chunk_len_ = chunk_len_ * 16 + static_cast<uint64_t>(digit);
    return;
  }
  if (num_digits_ == 0) {
    state_ = State::kMalformed;
  } else if (c == '\r') {
    expect_ = Expect::kSizeEnd;
  } else if (c == ';' || c == ' ' || c == '\t') {
    expect_ = Expect::kExtension;
  } else {
    state_ = State::kMalformed;
  }
  // Refused before any byte of it is read: the claim alone is enough.
  if (state_ == State::kMore &&
      chunk_len_ > max_body_bytes_ - std::min(body_bytes, max_body_bytes_)) {
    state_ = State::kTooLarge;
  }
}

void ChunkedDecoder::begin_data() {
  num_digits_ = 0;
  extension_bytes_ = 0;
  expect_ = chunk_len_ == 0 ? Expect::kTrailerLine : Expect::kData;
}

void ChunkedDecoder::take(char c, size_t body_bytes) {
  const auto require = [&](bool holds, Expect next) {
    if (!holds) state_ = State::kMalformed;
    expect_ = next;
  };
  switch (expect_) {
    case Expect::kSize:
      return take_size(c, body_bytes);
    case Expect::kExtension:
      if (c == '\r') {
        expect_ = Expect::kSizeEnd;
      } else if (is_control(c) || ++extension_bytes_ > kMaxExtensionBytes) {
        state_ = State::kMalformed;
      }
      return;
    case Expect::kSizeEnd:
      if (c != '\n') state_ = State::kMalformed;
      return begin_data();
    case Expect::kDataReturn:
      return require(c == '\r', Expect::kDataEnd);
    case Expect::kDataEnd:
      return require(c == '\n', Expect::kSize);
    case Expect::kTrailerLine:
      expect_ = c == '\r' ? Expect::kLastEnd : Expect::kTrailerText;
      [[fallthrough]];
    case Expect::kTrailerText:
      if (expect_ == Expect::kLastEnd) return;
      if (c == '\r') {
        expect_ = Expect::kTrailerEnd;
      } else if (is_control(c) || ++trailer_bytes_ > kMaxTrailerBytes) {
        state_ = State::kMalformed;
      }
      return;
    case Expect::kTrailerEnd:
      return require(c == '\n', Expect::kTrailerLine);
    case Expect::kLastEnd:
      state_ = c == '\n' ? State::kDone : State::kMalformed;
      return;
    case Expect::kData:
      return;
  }
}

}  // namespace sparrow::http
