#include "tokenizer/byte_alphabet.h"

#include <array>
#include <cstdint>

namespace sparrow {
namespace {

constexpr unsigned kFirstMoved = 0x100;
constexpr unsigned kNumMoved = 68;
constexpr unsigned kEnd = kFirstMoved + kNumMoved;
constexpr int16_t kNoByte = -1;

constexpr bool keeps_code_point(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<uint16_t, 256> code_points{};  // by byte
  std::array<int16_t, kEnd> bytes{};        // by code point, kNoByte where there is none
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (int16_t& byte : alphabet.bytes) byte = kNoByte;
  unsigned next = kFirstMoved;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const unsigned code_point = keeps_code_point(byte) ? byte : next++;
    alphabet.code_points[byte] = static_cast<uint16_t>(code_point);
    alphabet.bytes[code_point] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

bool append_piece_bytes(std::string_view piece, std::string& bytes) {
  size_t i = 0;
  while (i < piece.size()) {
    unsigned code_point = static_cast<unsigned char>(piece[i++]);
    if (code_point >= 0x80) {
      // Every other character of the alphabet is a two-byte sequence (U+0080 to U+07FF).
      if (code_point < 0xC2 || code_point > 0xDF || i == piece.size()) return false;
      const unsigned second = static_cast<unsigned char>(piece[i++]);
      if ((second & 0xC0) != 0x80) return false;
      code_point = (code_point & 0x1F) << 6 | (second & 0x3F);
    }
    if (code_point >= kEnd || kAlphabet.bytes[code_point] == kNoByte) return false;
    bytes.push_back(static_cast<char>(kAlphabet.bytes[code_point]));
  }
  return true;
}

std::string piece_of_bytes(std::string_view bytes) {
  std::string piece;
  piece.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const unsigned code_point = kAlphabet.code_points[static_cast<unsigned char>(c)];
    if (code_point < 0x80) {
      piece.push_back(static_cast<char>(code_point));
    } else {
      piece.push_back(static_cast<char>(0xC0 | code_point >> 6));
      piece.push_back(static_cast<char>(0x80 | (code_point & 0x3F)));
    }
  }
  return piece;
}

}  // namespace sparrow
