#include "api/auth_key_file.h"

#include <gtest/gtest.h>

#include "api/auth_digest.h"
#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace sparrow::api {
namespace {

// SHA-256 of "abc", from FIPS 180-2.
const std::string kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const std::string kOther(64, '5');

TEST(KeyFile, GoodLines_AreReadWithRightsAndLimits) {
  const auto keys = parse_key_file(
      "# who            key\n"
      "\n"
      "alice sha256:" +
      kAbc +
      " rpm=60 tpm=100K concurrent=4\r\n"
      "  ops\tsha256:" +
      kOther +
      "   admin\n"
      "old.one key:plain=text:with,signs");
  ASSERT_TRUE(keys.ok()) << keys.message();
  ASSERT_EQ(keys->size(), 3u);
  const KeyLine& alice = (*keys)[0];
  EXPECT_EQ(alice.name, "alice");
  EXPECT_EQ(to_hex(alice.digest), kAbc);
  EXPECT_EQ(alice.limits.requests_per_minute, 60);
  EXPECT_EQ(alice.limits.tokens_per_minute, 102400);
  EXPECT_EQ(alice.limits.max_concurrent, 4);
  EXPECT_FALSE(alice.is_admin);
  EXPECT_EQ(alice.line, 3);
  EXPECT_TRUE((*keys)[1].is_admin);
  EXPECT_EQ((*keys)[1].limits.requests_per_minute, 0);
  EXPECT_TRUE((*keys)[2].is_plain);
  EXPECT_EQ((*keys)[2].digest, key_digest("plain=text:with,signs"));
}

TEST(KeyFile, PlainKeyAndItsHash_AreTheSameKey) {
  if (!keys_are_hashed()) GTEST_SKIP() << "built without OpenSSL";
  EXPECT_EQ(to_hex(key_digest("abc")), kAbc);
  const auto keys = parse_key_file("a sha256:" + kAbc + "\nb key:abc\n");
  ASSERT_FALSE(keys.ok());
  EXPECT_EQ(keys.message(), "line 2: this is the key of line 1 again");
}

TEST(KeyFile, WhatIsNotUnderstood_IsRefusedByLine) {
  const std::string good = "alice sha256:" + kAbc;
  const std::pair<std::string, const char*> cases[] = {
      {"", "no key in this file"},
      {"# only a comment\n\n", "no key in this file"},
      {good + "\nbob\n", "line 2: there is no key"},
      {good + "\nbob sha256:" + kOther.substr(1), "line 2: sha256: must be followed by 64"},
      {good + "\nbob sha256:" + kOther + "00", "line 2: sha256: must be followed by 64"},
      {good + "\nbob sha256:g" + kOther.substr(1), "line 2: sha256: must be followed by 64"},
      {good + "\nbob sha512:" + kOther, "line 2: the second word"},
      {good + "\nbob key:", "line 2: key: must be followed by"},
      {good + "\nbob key:" + std::string(kMaxKeyBytes + 1, 'k'), "line 2: key: must be"},
      {"sha256:" + kAbc + " alice", "line 1: the line must begin with a name"},
      {std::string(kMaxKeyNameBytes + 1, 'n') + " sha256:" + kAbc, "line 1: the line must begin"},
      {"al\x01ice sha256:" + kAbc, "line 1: the line must begin"},
      {good + " rpm=0", "line 1: rpm must be from 1"},
      {good + " rpm=-5", "line 1: rpm must be from 1"},
      {good + " rpm=1000001", "line 1: rpm must be from 1 to 1000000"},
      {good + " rpm=", "line 1: rpm must be"},
      {good + " rpm=5x", "line 1: rpm must be"},
      {good + " rpm", "line 1: only admin, rpm=N"},
      {good + " rmp=5", "line 1: only admin, rpm=N"},
      {good + " Admin", "line 1: only admin, rpm=N"},
      {good + " rpm=5 rpm=6", "line 1: rpm stands there twice"},
      {good + " tpm=5 tpm=6", "line 1: tpm stands there twice"},
      {good + " concurrent=5 concurrent=6", "line 1: concurrent stands there twice"},
      {good + " admin admin", "line 1: admin stands there twice"},
      {good + "\nalice sha256:" + kOther + " rpm=5", "line 2: alice has other rights"},
      {good + "\nalice sha256:" + kOther + " admin", "line 2: alice has other rights"},
      {good + "\nbob sha256:" + kAbc, "line 2: this is the key of line 1 again"},
  };
  for (const auto& [text, message] : cases) {
    const auto keys = parse_key_file(text);
    ASSERT_FALSE(keys.ok()) << text;
    EXPECT_NE(keys.message().find(message), std::string::npos) << text << "\n" << keys.message();
  }
}

TEST(KeyFile, Errors_NeverShowAKey) {
  for (const std::string& text :
       {std::string("alice sk-secret"), std::string("sk-secret"), std::string("a key:x sk-secret"),
        std::string("sk-secret! key:x"), "a key:" + std::string(600, 'x') + "sk-secret"}) {
    const auto keys = parse_key_file(text);
    ASSERT_FALSE(keys.ok()) << text;
    EXPECT_EQ(keys.message().find("sk-secret"), std::string::npos) << keys.message();
  }
}

TEST(KeyFile, TwoKeysOfOneName_AreARotation) {
  const auto keys =
      parse_key_file("alice sha256:" + kAbc + " rpm=5\nalice sha256:" + kOther + " rpm=5\n");
  ASSERT_TRUE(keys.ok()) << keys.message();
  EXPECT_EQ(keys->size(), 2u);
}

TEST(KeyFile, TooManyKeys_AreRefused) {
  std::string text;
  for (size_t i = 0; i <= kMaxKeys; ++i) text += "n key:k" + std::to_string(i) + "\n";
  const auto keys = parse_key_file(text);
  ASSERT_FALSE(keys.ok());
  EXPECT_NE(keys.message().find("more than 4096 keys"), std::string::npos) << keys.message();
}

TEST(KeyFile, WrittenLine_ReadsBack) {
  const KeyLimits limits{.requests_per_minute = 7, .tokens_per_minute = 9, .max_concurrent = 2};
  const std::string line = key_file_line("bob", from_hex(kAbc), limits, true);
  const auto keys = parse_key_file(line);
  ASSERT_TRUE(keys.ok()) << line << keys.message();
  EXPECT_EQ(to_hex(keys->front().digest), kAbc);
  EXPECT_EQ(keys->front().limits.requests_per_minute, 7);
  EXPECT_EQ(keys->front().limits.tokens_per_minute, 9);
  EXPECT_EQ(keys->front().limits.max_concurrent, 2);
  EXPECT_TRUE(keys->front().is_admin);
}

// The fuzz entry on mutated lines.
TEST(KeyFileFuzz, MutatedFiles_ReadBackOrNameTheLine) {
  if (!keys_are_hashed()) GTEST_SKIP() << "built without OpenSSL";
  const std::string seed = "# c\nalice sha256:" + kAbc + " rpm=60 tpm=100K\nops key:abcd admin\n";
  constexpr std::string_view kBytes = "\n\r\t #=:akmrstp0159KG.\xff";
  for (uint64_t round = 0; round < 20000; ++round) {
    std::string input = seed;
    for (uint64_t edit = 0; edit < 1 + round % 4; ++edit) {
      const uint64_t bits = random_bits(7, round, edit);
      const size_t at = (bits >> 8) % input.size();
      const char byte = kBytes[(bits >> 40) % kBytes.size()];
      if (bits % 3 == 0) input[at] = byte;
      if (bits % 3 == 1) input.insert(at, 1, byte);
      if (bits % 3 == 2) input.erase(at, 1 + (bits >> 32) % 8);
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
}

}  // namespace
}  // namespace sparrow::api
