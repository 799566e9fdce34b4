// The real tokenizer of DeepSeek-R1-Distill-Qwen-1.5B against published and recorded vectors.
// Skips by name where ../shared/data is missing.

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer/nfc.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {
namespace {

using Ids = std::vector<TokenId>;

constexpr size_t kMaxFileBytes = 64u << 20;
constexpr TokenId kBos = 151646;

std::string data_path(const std::string& name) {
  const char* base = std::getenv("SPARROW_TEST_DATA");
  return std::string(base == nullptr ? "../shared/data" : base) + "/" + name;
}

std::shared_ptr<const Tokenizer> load_r1() {
  Result<TokenizerSpec> spec = read_hf_tokenizer(data_path("deepseek-r1-distill-qwen-1.5b"));
  if (!spec.ok()) {
    ADD_FAILURE() << spec.message();
    return nullptr;
  }
  auto tokenizer = Tokenizer::create(std::move(*spec));
  if (!tokenizer.ok()) {
    ADD_FAILURE() << tokenizer.message();
    return nullptr;
  }
  return *tokenizer;
}

struct Golden {
  std::string source;
  std::string text;
  Ids ids;
};

// JSON Lines cut at LF only; a line that does not parse is half of a cut row and not counted.
std::vector<Golden> read_goldens() {
  std::vector<Golden> goldens;
  const auto file = read_file(data_path("tokenizer-vectors/golden_encode.jsonl"), kMaxFileBytes);
  if (!file.ok()) return goldens;
  std::istringstream lines(*file);
  for (std::string line; std::getline(lines, line, '\n');) {
    const auto row = parse_json(line, "golden_encode.jsonl");
    if (!row.ok()) continue;
    Golden golden;
    golden.source = std::string_view(row.value().at("src").as_string());
    golden.text = std::string_view(row.value().at("text").as_string());
    for (const auto& id : row.value().at("ids").as_array()) {
      golden.ids.push_back(static_cast<TokenId>(id.as_int64()));
    }
    goldens.push_back(std::move(golden));
  }
  return goldens;
}

std::string nfc(const std::string& text) {
  std::string buffer;
  return std::string(to_nfc(text, buffer));
}

class TokenizerGolden : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (std::filesystem::exists(data_path("deepseek-r1-distill-qwen-1.5b/tokenizer.json"))) {
      tokenizer_ = load_r1();
      goldens_ = read_goldens();
    }
  }
  static void TearDownTestSuite() { tokenizer_.reset(); }
  void SetUp() override {
    for (const char* name : {"deepseek-r1-distill-qwen-1.5b/tokenizer.json",
                             "tokenizer-vectors/golden_encode.jsonl"}) {
      if (!std::filesystem::exists(data_path(name))) {
        GTEST_SKIP() << data_path(name) << " is missing";
      }
    }
    ASSERT_NE(tokenizer_, nullptr);
  }
  static std::shared_ptr<const Tokenizer> tokenizer_;
  static std::vector<Golden> goldens_;
};
std::shared_ptr<const Tokenizer> TokenizerGolden::tokenizer_;
std::vector<Golden> TokenizerGolden::goldens_;

TEST_F(TokenizerGolden, Encode_RecordedTexts_AgreesIdForId) {
  ASSERT_GE(goldens_.size(), 1110u);
  for (const Golden& golden : goldens_) {
    EXPECT_EQ(tokenizer_->encode(golden.text), golden.ids) << golden.source << ": " << golden.text;
  }
}

TEST_F(TokenizerGolden, Decode_OfEncoded_GivesTheNormalizedText) {
  for (const Golden& golden : goldens_) {
    EXPECT_EQ(tokenizer_->decode(golden.ids), nfc(golden.text));
  }
}

TEST_F(TokenizerGolden, StreamDecoder_IdById_GivesTheWholeTextAndNeverHalfACharacter) {
  for (const Golden& golden : goldens_) {
    StreamDecoder decoder(*tokenizer_, /*skip_special_tokens=*/false);
    std::string text;
    for (const TokenId id : golden.ids) {
      std::string part;
      decoder.push(id, part);
      ASSERT_TRUE(is_valid_utf8(part));
      text += part;
    }
    decoder.flush(text);
    ASSERT_EQ(text, tokenizer_->decode(golden.ids)) << golden.source;
  }
}

// Every prefix and suffix of the bytes, cut characters included, is encoded to ids that decode to
// what a reader would see: the same bytes with U+FFFD for the cut character.
TEST_F(TokenizerGolden, Encode_CutAtEveryByte_DecodesToTheRepairedText) {
  constexpr size_t kMaxTextBytes = 200;
  size_t num_cuts = 0;
  for (const Golden& golden : goldens_) {
    if (golden.text.size() > kMaxTextBytes) continue;
    for (size_t cut = 0; cut <= golden.text.size(); ++cut) {
      for (const std::string& part : {golden.text.substr(0, cut), golden.text.substr(cut)}) {
        std::string repaired;
        append_valid_utf8(repaired, part);
        ASSERT_EQ(tokenizer_->decode(tokenizer_->encode(part)), nfc(repaired));
        ++num_cuts;
      }
    }
  }
  EXPECT_GT(num_cuts, 10000u);
}

TEST_F(TokenizerGolden, Encode_LlamaCppVectors_AgreesIdForId) {
  for (const char* name : {"deepseek-r1-qwen", "qwen2"}) {
    const std::string stem =
        data_path(fmt::format("tokenizer-vectors/llama.cpp/ggml-vocab-{}.gguf", name));
    const auto inputs = read_file(stem + ".inp", kMaxFileBytes);
    const auto outputs = read_file(stem + ".out", kMaxFileBytes);
    if (!inputs.ok()) GTEST_SKIP() << stem << ".inp is missing";
    ASSERT_TRUE(outputs.ok()) << outputs.message();
    std::istringstream lines(*outputs);
    const std::string separator = "\n__ggml_vocab_test__\n";
    size_t num_texts = 0;
    std::string_view rest = *inputs;
    std::string line;
    while (std::getline(lines, line)) {
      const size_t end = rest.find(separator);
      const std::string_view text = rest.substr(0, end);
      std::istringstream numbers(line);
      Ids expected;
      for (TokenId id = 0; numbers >> id;) expected.push_back(id);
      EXPECT_EQ(tokenizer_->encode(text), expected) << text;
      ++num_texts;
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + separator.size());
    }
    EXPECT_EQ(num_texts, 46u);
  }
}

TEST_F(TokenizerGolden, Encode_RenderedChat_HasExactlyOneBosWithAndWithoutAddBos) {
  const auto file = read_file(data_path("tokenizer-vectors/golden_chat.jsonl"), kMaxFileBytes);
  if (!file.ok()) GTEST_SKIP() << file.message();
  std::istringstream lines(*file);
  size_t num_checked = 0;
  for (std::string line; std::getline(lines, line, '\n');) {
    const auto row = parse_json(line, "golden_chat.jsonl");
    if (!row.ok()) continue;
    const auto& object = row.value().as_object();
    const auto* ids = object.if_contains("ids");
    const auto* rendered = object.if_contains("text");
    if (ids == nullptr || !ids->is_array() || rendered == nullptr) continue;
    Ids expected;
    for (const auto& id : ids->as_array()) expected.push_back(static_cast<TokenId>(id.as_int64()));
    const std::string_view text = rendered->as_string();
    EXPECT_EQ(tokenizer_->encode(text), expected);
    EXPECT_EQ(tokenizer_->encode(text, {.add_bos = true}), expected);
    EXPECT_EQ(std::count(expected.begin(), expected.end(), kBos), 1);
    ++num_checked;
  }
  EXPECT_EQ(num_checked, 16u);
}

TEST_F(TokenizerGolden, Encode_TextPrompt_BosIsPutFirstOnce) {
  // huggingface/swift-transformers#161
  EXPECT_EQ(tokenizer_->encode("Who are you?", {.add_bos = true}),
            (Ids{kBos, 15191, 525, 498, 30}));
  EXPECT_EQ(tokenizer_->encode("Who are you?"), (Ids{15191, 525, 498, 30}));
  EXPECT_EQ(tokenizer_->encode("", {.add_bos = true}), (Ids{kBos}));
  const std::string with_bos = "<｜begin▁of▁sentence｜><｜User｜>hello";
  EXPECT_EQ(tokenizer_->encode(with_bos, {.add_bos = true}), (Ids{kBos, 151644, 14990}));
}

TEST_F(TokenizerGolden, Tokens_OfR1_AreWhatTheModelCardSays) {
  EXPECT_EQ(tokenizer_->vocab_size(), 151665);
  EXPECT_EQ(tokenizer_->bos_token_id(), kBos);
  EXPECT_EQ(tokenizer_->eos_token_id(), 151643);
  EXPECT_EQ(tokenizer_->added_token_id("<think>"), 151648);
  EXPECT_EQ(tokenizer_->added_token_id("</think>"), 151649);
  EXPECT_FALSE(tokenizer_->is_special(151648));
  EXPECT_TRUE(tokenizer_->is_special(kBos));
  EXPECT_FALSE(tokenizer_->has_token(151665));
  EXPECT_EQ(tokenizer_->token_bytes(220), " ");
  size_t num_bytes = 0;
  for (TokenId id = 0; id < 151643; ++id) num_bytes += tokenizer_->token_bytes(id).size();
  EXPECT_EQ(num_bytes, 975969u);
  EXPECT_EQ(tokenizer_->token_bytes(56940), std::string(128, ' '));
}

TEST_F(TokenizerGolden, Decode_EveryTokenAlone_IsValidUtf8AndStreamsTheSame) {
  for (TokenId id = 0; id < tokenizer_->vocab_size(); ++id) {
    const std::string whole = tokenizer_->decode(std::span(&id, 1));
    ASSERT_TRUE(is_valid_utf8(whole));
    StreamDecoder decoder(*tokenizer_, false);
    std::string streamed;
    decoder.push(id, streamed);
    decoder.flush(streamed);
    ASSERT_EQ(streamed, whole) << id;
  }
}

}  // namespace
}  // namespace sparrow
