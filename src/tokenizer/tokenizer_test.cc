#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/utf8.h"
#include "tokenizer/tokenizer_test_util.h"

namespace sparrow {
namespace {

using Ids = std::vector<TokenId>;
using test::byte_spec;
using test::create_or_die;

// "hello" in pieces: he 256, ll 257, hell 258.
TokenizerSpec hello_spec() {
  TokenizerSpec spec = byte_spec({{"h", "e"}, {"l", "l"}, {"he", "ll"}});
  spec.split_pattern = test::kQwenPattern;
  spec.nfc = true;
  return spec;
}

TokenizerSpec with_added(AddedToken token) {
  TokenizerSpec spec = hello_spec();
  spec.added_tokens.push_back(std::move(token));
  return spec;
}

std::string create_error(TokenizerSpec spec) {
  const auto tokenizer = Tokenizer::create(std::move(spec));
  return tokenizer.ok() ? "" : tokenizer.message();
}

Ids encode(TokenizerSpec spec, std::string_view text, const EncodeOptions& options = {}) {
  return create_or_die(std::move(spec))->encode(text, options);
}

TEST(Tokenizer, Encode_Words_AreMergedEachAlone) {
  EXPECT_EQ(encode(hello_spec(), "hello hell"), (Ids{258, 'o', ' ', 258}));
  // The split stands between h and e: no merge across it.
  EXPECT_EQ(encode(hello_spec(), "h1e"), (Ids{'h', '1', 'e'}));
  EXPECT_EQ(encode(hello_spec(), ""), Ids{});
}

TEST(Tokenizer, Encode_NoPattern_TextIsOneWord) {
  TokenizerSpec spec = byte_spec({{"1", "2"}});
  EXPECT_EQ(encode(std::move(spec), "x12"), (Ids{'x', 256}));
}

TEST(Tokenizer, Encode_WordIsAPieceItsMergesDoNotReach_OnlyIgnoreMergesTakesItWhole) {
  TokenizerSpec spec = hello_spec();
  spec.pieces.push_back("ab");  // 259, in no merge
  EXPECT_EQ(encode(spec, "ab ab"), (Ids{'a', 'b', ' ', 'a', 'b'}));
  spec.ignore_merges = true;
  EXPECT_EQ(encode(spec, "ab"), Ids{259});
}

TEST(Tokenizer, Encode_SameWordTwice_GivesTheSameIds) {
  const auto tokenizer = create_or_die(hello_spec());
  const Ids first = tokenizer->encode("hell");
  EXPECT_EQ(first, Ids{258});
  EXPECT_EQ(tokenizer->encode("hell"), first);
}

TEST(Tokenizer, Encode_InvalidUtf8_IsReplaced) {
  const auto tokenizer = create_or_die(hello_spec());
  for (const std::string text :
       {"\xFF", "a\xC3", "\xE4\xBD", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC0\x80", "ok\x80ok"}) {
    std::string repaired;
    append_valid_utf8(repaired, text);
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), repaired);
  }
}

TEST(Tokenizer, Encode_AddedTokens_LeftmostThenLongest) {
  TokenizerSpec spec = hello_spec();
  spec.added_tokens = {
      {.id = 300, .content = "<a"}, {.id = 301, .content = "<ab>"}, {.id = 302, .content = "a<"}};
  EXPECT_EQ(encode(spec, "<ab>"), Ids{301});
  EXPECT_EQ(encode(spec, "<ab"), (Ids{300, 'b'}));
  EXPECT_EQ(encode(spec, "a<ab>"), (Ids{302, 'a', 'b', '>'}));
  EXPECT_EQ(encode(spec, "<ab>", {.parse_added_tokens = false}), (Ids{'<', 'a', 'b', '>'}));
}

TEST(Tokenizer, Encode_AddedToken_IsFoundBeforeNfcAndCutsTheText) {
  // In normalized text there is no e; behind the token the mark stands alone.
  const TokenizerSpec spec = with_added({.id = 300, .content = "e"});
  EXPECT_EQ(encode(spec, "e\u0301"), (Ids{300, 0xCC, 0x81}));
  EXPECT_EQ(encode(spec, "h  e"), (Ids{'h', ' ', ' ', 300}));
}

TEST(Tokenizer, Encode_NormalizedAddedToken_IsFoundAfterNfc) {
  const TokenizerSpec spec = with_added({.id = 300, .content = "e\u0301", .normalized = true});
  EXPECT_EQ(encode(spec, "xe\u0301"), (Ids{'x', 300}));
  EXPECT_EQ(encode(spec, "xé"), (Ids{'x', 300}));
  const TokenizerSpec raw = with_added({.id = 300, .content = "e\u0301"});
  EXPECT_EQ(encode(raw, "xé"), (Ids{'x', 0xC3, 0xA9}));
}

TEST(Tokenizer, Encode_SingleWord_IsTakenOnlyBetweenNonWordCharacters) {
  const TokenizerSpec spec = with_added({.id = 300, .content = "ab", .single_word = true});
  EXPECT_EQ(encode(spec, "ab"), Ids{300});
  EXPECT_EQ(encode(spec, "-ab-"), (Ids{'-', 300, '-'}));
  EXPECT_EQ(encode(spec, "abc"), (Ids{'a', 'b', 'c'}));
  EXPECT_EQ(encode(spec, "cab"), (Ids{'c', 'a', 'b'}));
  EXPECT_EQ(encode(spec, "_ab"), (Ids{'_', 'a', 'b'}));
  EXPECT_EQ(encode(spec, "éab"), (Ids{0xC3, 0xA9, 'a', 'b'}));
}

TEST(Tokenizer, Encode_StripFlags_TakeTheWhiteSpaceAlong) {
  EXPECT_EQ(encode(with_added({.id = 300, .content = "<m>", .lstrip = true}), "a \t<m> b"),
            (Ids{'a', 300, ' ', 'b'}));
  EXPECT_EQ(encode(with_added({.id = 300, .content = "<m>", .rstrip = true}), "a <m>\u3000\nb"),
            (Ids{'a', ' ', 300, 'b'}));
  EXPECT_EQ(encode(with_added({.id = 300, .content = "<m>", .lstrip = true, .rstrip = true}),
                   " <m>  <m> "),
            (Ids{300, 300}));
}

TEST(Tokenizer, Encode_AddBos_IsPutFirstOnlyWhenTheSpecSaysSoAndItIsNotThere) {
  TokenizerSpec spec = with_added({.id = 300, .content = "<s>", .special = true});
  spec.bos_token_id = 300;
  EXPECT_EQ(encode(spec, "h", {.add_bos = true}), Ids{'h'});
  spec.add_bos = true;
  EXPECT_EQ(encode(spec, "h"), Ids{'h'});
  EXPECT_EQ(encode(spec, "h", {.add_bos = true}), (Ids{300, 'h'}));
  EXPECT_EQ(encode(spec, "<s>h", {.add_bos = true}), (Ids{300, 'h'}));
  EXPECT_EQ(encode(spec, "h<s>", {.add_bos = true}), (Ids{300, 'h', 300}));
  EXPECT_EQ(encode(spec, "<s>", {.parse_added_tokens = false, .add_bos = true}),
            (Ids{300, '<', 's', '>'}));
}

TEST(Tokenizer, Encode_HostileRuns_AgreeWithTheirStructure) {
  TokenizerSpec spec = byte_spec({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}});
  spec.split_pattern = test::kQwenPattern;
  const auto tokenizer = create_or_die(std::move(spec));
  constexpr size_t kNumBytes = 1u << 20;
  EXPECT_EQ(tokenizer->encode(std::string(kNumBytes, 'a')), Ids(kNumBytes / 8, 258));
  EXPECT_EQ(tokenizer->encode(std::string(kNumBytes, ' ')), Ids(kNumBytes, ' '));
  EXPECT_EQ(tokenizer->encode(std::string(kNumBytes, '\n')), Ids(kNumBytes, '\n'));
}

TEST(Tokenizer, Encode_ManyThreads_GiveTheSameIds) {
  const auto tokenizer = create_or_die(hello_spec());
  const std::string text = "hello hell he ll é 12 hello";
  const Ids expected = create_or_die(hello_spec())->encode(text);
  std::vector<std::thread> threads;
  std::vector<Ids> results(4);
  for (Ids& result : results) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) result = tokenizer->encode(text);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Ids& result : results) EXPECT_EQ(result, expected);
}

TEST(Tokenizer, Decode_UnknownSpecialAndInvalid_AreSkippedOrReplaced) {
  TokenizerSpec spec = with_added({.id = 300, .content = "<s>", .special = true});
  spec.added_tokens.push_back({.id = 301, .content = "<think>"});
  const auto tokenizer = create_or_die(std::move(spec));
  const Ids ids{300, 258, 301, -1, 280, 302, 1 << 30, 'o'};
  EXPECT_EQ(tokenizer->decode(ids), "<s>hell<think>o");
  EXPECT_EQ(tokenizer->decode(ids, /*skip_special_tokens=*/true), "hell<think>o");
  EXPECT_EQ(tokenizer->decode(Ids{0xE4, 0xBD, 'a', 0xA0}), "\uFFFDa\uFFFD");
  EXPECT_EQ(tokenizer->vocab_size(), 302);
  EXPECT_FALSE(tokenizer->has_token(280));
  EXPECT_TRUE(tokenizer->has_token(301));
  EXPECT_TRUE(tokenizer->is_added(301));
  EXPECT_FALSE(tokenizer->is_special(301));
  EXPECT_FALSE(tokenizer->is_added('a'));
  EXPECT_EQ(tokenizer->added_token_id("<think>"), 301);
  EXPECT_EQ(tokenizer->added_token_id("<none>"), std::nullopt);
}

TEST(StreamDecoder, EveryByteSequence_StreamedEqualsDecoded) {
  const auto tokenizer = create_or_die(hello_spec());
  const Ids bytes{'a', 0x80, 0xC3, 0xA9, 0xE4, 0xBD, 0xF0, 0x9F, 0xED, 0xF4, 0xFF};
  for (TokenId first : bytes) {
    for (TokenId second : bytes) {
      for (TokenId third : bytes) {
        for (TokenId fourth : bytes) {
          const Ids ids{first, second, third, fourth};
          StreamDecoder decoder(*tokenizer);
          std::string text;
          for (const TokenId id : ids) {
            decoder.push(id, text);
            ASSERT_TRUE(is_valid_utf8(text));
          }
          decoder.flush(text);
          ASSERT_EQ(text, tokenizer->decode(ids));
        }
      }
    }
  }
}

TEST(StreamDecoder, HalfCharacter_IsHeldThenCompletedOrFlushed) {
  TokenizerSpec spec = with_added({.id = 300, .content = "<s>", .special = true});
  const auto tokenizer = create_or_die(std::move(spec));
  StreamDecoder decoder(*tokenizer);
  std::string text;
  decoder.push(0xE4, text);
  decoder.push(0xBD, text);
  EXPECT_EQ(text, "");
  decoder.push(300, text);  // skipped: the bytes around it still belong together
  decoder.push(0xA0, text);
  EXPECT_EQ(text, "你");
  decoder.push(0xF0, text);
  decoder.flush(text);
  EXPECT_EQ(text, "你\uFFFD");
  decoder.flush(text);
  EXPECT_EQ(text, "你\uFFFD");
}

TEST(TokenizerCreate, WrongSpecs_AreRefusedWithTheReason) {
  TokenizerSpec spec = hello_spec();
  spec.source = "m/tokenizer.json";
  spec.merges.emplace_back("x", "y");
  EXPECT_EQ(
      create_error(spec),
      "m/tokenizer.json: merge 3 (\"x\" with \"y\") makes a piece that is not in the vocabulary");
  spec = hello_spec();
  spec.merges.emplace_back("xyz", "y");
  EXPECT_EQ(create_error(spec),
            "merge 3 (\"xyz\" with \"y\") names a piece that is not in the vocabulary");
  spec = hello_spec();
  spec.merges.emplace_back("h", "e");
  EXPECT_EQ(create_error(spec), "merge 3 is listed before as merge 0");
  spec = hello_spec();
  spec.pieces.push_back("he");
  EXPECT_EQ(create_error(spec), "piece \"he\" has two ids, 256 and 259");
  spec = hello_spec();
  spec.pieces.push_back("中");
  EXPECT_EQ(create_error(spec),
            "piece \"中\" (id 259) has a character outside of the byte alphabet");
  spec = hello_spec();
  spec.pieces['A'].clear();
  EXPECT_NE(create_error(spec).find("no piece for the byte 0x41"), std::string::npos);
  spec = hello_spec();
  spec.split_pattern = "(";
  EXPECT_NE(create_error(spec).find("split pattern does not compile"), std::string::npos);
  spec = hello_spec();
  spec.eos_token_id = 9999;
  EXPECT_EQ(create_error(spec), "eos_token_id is 9999, which names no token");
  spec = hello_spec();
  spec.add_bos = true;
  EXPECT_EQ(create_error(spec), "add_bos is set, but there is no bos token");
}

TEST(TokenizerCreate, WrongAddedTokens_AreRefusedWithTheReason) {
  EXPECT_NE(create_error(with_added({.id = -1, .content = "x"})), "");
  EXPECT_NE(create_error(with_added({.id = Tokenizer::kMaxTokens, .content = "x"})), "");
  EXPECT_NE(create_error(with_added({.id = 300, .content = ""})), "");
  EXPECT_NE(create_error(with_added({.id = 300, .content = "\xFF"})), "");
  EXPECT_NE(create_error(with_added({.id = 300, .content = std::string(513, 'x')})), "");
  EXPECT_EQ(create_error(with_added({.id = 300, .content = std::string(512, 'x')})), "");
  // Few tokens cannot claim a table of millions.
  EXPECT_NE(create_error(with_added({.id = 1000000, .content = "x"})).find("largest id is 1000000"),
            std::string::npos);
  TokenizerSpec spec = with_added({.id = 300, .content = "x"});
  spec.added_tokens.push_back({.id = 300, .content = "y"});
  EXPECT_EQ(create_error(spec), "id 300 belongs to two added tokens, \"x\" and \"y\"");
  spec.added_tokens[1] = {.id = 301, .content = "x"};
  EXPECT_EQ(create_error(spec), "added token \"x\" has two ids, 300 and 301");
  spec.added_tokens = {{.id = 300, .content = "é", .normalized = true},
                       {.id = 301, .content = "e\u0301", .normalized = true}};
  EXPECT_NE(create_error(spec).find("after NFC, the same as that of id 300"), std::string::npos);
}

}  // namespace
}  // namespace sparrow
