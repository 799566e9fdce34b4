#include "base/sip_hash.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <string>

namespace sparrow {
namespace {

// The key and inputs 00 01 02 … of the authors' test vectors; outputs in little endian.
TEST(SipHash, MatchesTheAuthorsVectors) {
  const SipKey key{0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
  std::array<unsigned char, 15> input{};
  std::iota(input.begin(), input.end(), static_cast<unsigned char>(0));
  const std::span<const unsigned char> bytes(input);
  EXPECT_EQ(sip_hash(key, bytes.first(0)), (Hash128{0xe6a825ba047f81a3u, 0x930255c71472f66du}));
  EXPECT_EQ(sip_hash(key, bytes.first(1)), (Hash128{0x44af996bd8c187dau, 0x45fc229b11597634u}));
  EXPECT_EQ(sip_hash(key, bytes), (Hash128{0x11a8b03399e99354u, 0xd9c3cf970fec087eu}));
}

TEST(SipHash, EveryByteCounts) {
  const SipKey key{1, 2};
  std::string text(40, 'x');
  const Hash128 whole = sip_hash(key, text);
  for (char& byte : text) {
    byte = 'y';
    EXPECT_NE(sip_hash(key, text), whole);
    byte = 'x';
  }
  EXPECT_NE(sip_hash(key, std::string_view(text).substr(1)), whole);
}

TEST(SipHash, AnotherKeyGivesAnotherHash) {
  const std::array<unsigned char, 3> bytes{1, 2, 3};
  EXPECT_NE(sip_hash({1, 2}, bytes), sip_hash({1, 3}, bytes));
  EXPECT_NE(sip_hash({1, 2}, bytes), sip_hash({2, 2}, bytes));
}

}  // namespace
}  // namespace sparrow
