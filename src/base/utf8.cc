#include "base/utf8.h"

#include <algorithm>

namespace sparrow {
namespace {

unsigned byte_at(std::string_view text, size_t index) {
  return static_cast<unsigned char>(text[index]);
}

// Expected length from the first byte; 0 for a byte that starts nothing.
size_t expected_len(unsigned first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return 2;
  if (first >= 0xE0 && first <= 0xEF) return 3;
  if (first >= 0xF0 && first <= 0xF4) return 4;
  return 0;
}

// The second byte has a narrower range after four first bytes (RFC 3629, section 4).
bool second_byte_ok(unsigned first, unsigned second) {
  if (first == 0xE0) return second >= 0xA0 && second <= 0xBF;
  if (first == 0xED) return second >= 0x80 && second <= 0x9F;
  if (first == 0xF0) return second >= 0x90 && second <= 0xBF;
  if (first == 0xF4) return second >= 0x80 && second <= 0x8F;
  return second >= 0x80 && second <= 0xBF;
}

// Length of the longest prefix of `text` that starts a valid sequence, up to that sequence's end.
size_t valid_prefix_len(std::string_view text, size_t expected) {
  const size_t limit = std::min(expected, text.size());
  size_t len = 1;
  while (len < limit) {
    const unsigned byte = byte_at(text, len);
    const bool ok = len == 1 ? second_byte_ok(byte_at(text, 0), byte) : (byte & 0xC0) == 0x80;
    if (!ok) break;
    ++len;
  }
  return len;
}

}  // namespace

size_t utf8_sequence_len(std::string_view text) {
  if (text.empty()) return 0;
  const size_t expected = expected_len(byte_at(text, 0));
  if (expected == 0) return 0;
  return valid_prefix_len(text, expected) == expected ? expected : 0;
}

bool is_valid_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const size_t len = utf8_sequence_len(text.substr(i));
    if (len == 0) return false;
    i += len;
  }
  return true;
}

size_t utf8_incomplete_suffix_len(std::string_view text) {
  const size_t longest = std::min<size_t>(3, text.size());
  for (size_t len = 1; len <= longest; ++len) {
    const std::string_view tail = text.substr(text.size() - len);
    const size_t expected = expected_len(byte_at(tail, 0));
    if (expected > len && valid_prefix_len(tail, expected) == len) return len;
  }
  return 0;
}

void append_valid_utf8(std::string& out, std::string_view bytes) {
  size_t i = 0;
  while (i < bytes.size()) {
    const std::string_view rest = bytes.substr(i);
    const size_t expected = expected_len(byte_at(rest, 0));
    const size_t len = expected == 0 ? 1 : valid_prefix_len(rest, expected);
    if (expected != 0 && len == expected) {
      out.append(rest, 0, len);
    } else {
      out += "\xEF\xBF\xBD";
    }
    i += len;
  }
}

}  // namespace sparrow
