#include "tokenizer/hf_tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/random.h"
#include "tokenizer/tokenizer_test_util.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace sparrow {
namespace {

namespace json = boost::json;
using Ids = std::vector<TokenId>;
using test::small_tokenizer_json;

json::value json_of(std::string_view text) {
  auto value = parse_json(text, "test");
  CHECK(value.ok());
  return std::move(value).value();
}

Result<TokenizerSpec> parse(const json::value& file, std::string_view config = {}) {
  return parse_hf_tokenizer(json::serialize(file), "t.json", config, "c.json");
}

// The error of the small file after `edit` changed it, of parsing or of create().
template <typename Edit>
std::string error_after(const Edit& edit) {
  json::object file = small_tokenizer_json();
  edit(file);
  Result<TokenizerSpec> spec = parse(file);
  if (!spec.ok()) return spec.message();
  const auto tokenizer = Tokenizer::create(std::move(*spec));
  return tokenizer.ok() ? "" : tokenizer.message();
}

json::object& model_of(json::object& file) { return file["model"].as_object(); }

std::string config_error(std::string_view config) {
  const auto spec = parse(small_tokenizer_json(), config);
  return spec.ok() ? "" : spec.message();
}

TEST(HfTokenizer, SmallFile_GivesAWorkingTokenizer) {
  auto spec =
      parse(small_tokenizer_json(),
            R"({"add_bos_token": true, "bos_token": {"content": "<s>"}, "eos_token": "<think>"})");
  ASSERT_TRUE(spec.ok()) << spec.message();
  EXPECT_TRUE(spec->nfc);
  EXPECT_TRUE(spec->add_bos);
  EXPECT_EQ(spec->bos_token_id, 259);
  EXPECT_EQ(spec->eos_token_id, 260);
  const auto tokenizer = test::create_or_die(std::move(*spec));
  EXPECT_EQ(tokenizer->encode("hello<think>", {.add_bos = true}), (Ids{259, 258, 'o', 260}));
}

TEST(HfTokenizer, MergesAsPairs_ReadTheSame) {
  json::object file = small_tokenizer_json();
  model_of(file)["merges"] =
      json::array{json::array{"h", "e"}, json::array{"l", "l"}, json::array{"he", "ll"}};
  const auto spec = parse(file);
  ASSERT_TRUE(spec.ok()) << spec.message();
  EXPECT_EQ(spec->merges, parse(small_tokenizer_json())->merges);
}

TEST(HfTokenizer, ByteLevelWithRegex_SplitsAsGpt2) {
  json::object file = small_tokenizer_json();
  file["pre_tokenizer"] =
      json::object{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  auto spec = parse(file);
  ASSERT_TRUE(spec.ok()) << spec.message();
  EXPECT_EQ(test::create_or_die(std::move(*spec))->encode("he12"), (Ids{256, '1', '2'}));
}

TEST(HfTokenizer, TemplateWithOneTokenInFront_IsAddBos) {
  json::object file = small_tokenizer_json();
  file["post_processor"] = json_of(
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
          {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}})");
  const auto spec = parse(file);
  ASSERT_TRUE(spec.ok()) << spec.message();
  EXPECT_TRUE(spec->add_bos);
  EXPECT_EQ(spec->bos_token_id, 259);
  file["post_processor"].as_object()["single"] =
      json_of(R"([{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "<s>"}}])");
  EXPECT_FALSE(parse(file).ok());
}

TEST(HfTokenizer, LlamaClassWithoutAddBos_AddsIt) {
  const auto spec = parse(small_tokenizer_json(),
                          R"({"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<s>"})");
  ASSERT_TRUE(spec.ok()) << spec.message();
  EXPECT_TRUE(spec->add_bos);
  const auto qwen =
      parse(small_tokenizer_json(), R"({"tokenizer_class": "Qwen2Tokenizer", "bos_token": null})");
  ASSERT_TRUE(qwen.ok()) << qwen.message();
  EXPECT_FALSE(qwen->add_bos);
}

TEST(HfTokenizer, UnsupportedParts_AreRefusedByName) {
  struct Case {
    const char* edit;  // merged over the root
    const char* message;
  };
  const Case cases[] = {
      {R"({"normalizer": {"type": "Lowercase"}})",
       "t.json: normalizer.type is \"Lowercase\", expected NFC (other normalizers are not "
       "supported)"},
      {R"({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "NFD"}]}})",
       "t.json: normalizer.normalizers[1].type is \"NFD\", expected NFC (other normalizers are not "
       "supported)"},
      {R"({"pre_tokenizer": null})",
       "t.json: pre_tokenizer has no ByteLevel part, expected one (only byte-level BPE is "
       "supported)"},
      {R"({"pre_tokenizer": {"type": "Metaspace"}})",
       "t.json: pre_tokenizer.type is \"Metaspace\", expected Split or ByteLevel"},
      {R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true}})",
       "t.json: pre_tokenizer.add_prefix_space is true, expected false"},
      {R"({"pre_tokenizer": {"type": "Split", "pattern": {"String": "x"}, "behavior": "Isolated"}})",
       "t.json: pre_tokenizer.pattern.Regex is missing, expected a regular expression"},
      {R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "x"}, "behavior": "Removed"}})",
       "t.json: pre_tokenizer.behavior is \"Removed\", expected Isolated"},
      {R"({"decoder": null})", "t.json: decoder is null, expected ByteLevel"},
      {R"({"decoder": {"type": "Metaspace"}})",
       "t.json: decoder.type is \"Metaspace\", expected ByteLevel"},
      {R"({"post_processor": {"type": "BertProcessing"}})",
       "t.json: post_processor.type is \"BertProcessing\", expected ByteLevel or "
       "TemplateProcessing"},
      {R"({"model": []})", "t.json: model is an array of 0, expected an object"},
      {R"({"model": {"type": "Unigram"}})", "t.json: model.type is \"Unigram\", expected BPE"},
      {R"({"added_tokens": 7})", "t.json: added_tokens is the number 7, expected an array"},
      {R"({"added_tokens": [7]})", "t.json: added_tokens[0] is the number 7, expected an object"},
      {R"({"added_tokens": [{"id": 4294967296, "content": "x"}]})",
       "t.json: added_tokens[0].id is the number 4294967296, expected an id from 0 to 2097151"},
      {R"({"added_tokens": [{"id": 300, "content": 5}]})",
       "t.json: added_tokens[0].content is the number 5, expected a string"},
      {R"({"added_tokens": [{"id": 300, "content": "x", "lstrip": "no"}]})",
       "t.json: added_tokens[0].lstrip is \"no\", expected true or false"},
      {R"({"added_tokens": [{"content": "x"}]})",
       "t.json: added_tokens[0].id is missing, expected an id"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(error_after([&](json::object& file) {
                const json::value edit = json_of(c.edit);
                for (const auto& [key, value] : edit.as_object()) {
                  file[key] = value;
                }
              }),
              c.message);
  }
}

TEST(HfTokenizer, UnsupportedModelFields_AreRefusedByName) {
  const std::pair<const char*, json::value> cases[] = {
      {"dropout", 0.1},
      {"continuing_subword_prefix", "##"},
      {"end_of_word_suffix", "</w>"},
      {"byte_fallback", true},
      {"ignore_merges", 1},
      {"vocab", nullptr},
      {"merges", "a b"},
  };
  for (const auto& [key, value] : cases) {
    const std::string error = error_after([&](json::object& file) { model_of(file)[key] = value; });
    EXPECT_EQ(error.find(fmt::format("t.json: model.{} is ", key)), 0u) << error;
  }
  EXPECT_EQ(error_after([](json::object& file) { model_of(file)["dropout"] = 0.0; }), "");
}

TEST(HfTokenizer, WrongVocabIds_AreRefusedBeforeMemoryIsTaken) {
  const json::value wrong[] = {-1,        1.5,    "7", nullptr, 1 << 21, uint64_t{1} << 63,
                               INT64_MIN, 100000, 'a'};
  for (const json::value& id : wrong) {
    const std::string error =
        error_after([&](json::object& file) { model_of(file)["vocab"].as_object()["zz"] = id; });
    EXPECT_EQ(error.find("t.json: model.vocab[\"zz\"] is "), 0u) << error;
  }
  // A hole is allowed: the id names no token.
  json::object file = small_tokenizer_json();
  model_of(file)["vocab"].as_object()["zz"] = 500;
  auto spec = parse(file);
  ASSERT_TRUE(spec.ok()) << spec.message();
  const auto tokenizer = test::create_or_die(std::move(*spec));
  EXPECT_EQ(tokenizer->vocab_size(), 501);
  EXPECT_FALSE(tokenizer->has_token(499));
}

TEST(HfTokenizer, WrongMerges_AreRefusedByIndex) {
  for (const char* merge : {R"("ab")", R"("a b c")", R"("")", R"(" b")", R"("a ")", R"(["a"])",
                            R"(["a", "b", "c"])", R"(["a", 1])", R"(["a", ""])", "7", "null"}) {
    const std::string error = error_after(
        [&](json::object& file) { model_of(file)["merges"].as_array().push_back(json_of(merge)); });
    EXPECT_EQ(error.find("t.json: model.merges[3] is "), 0u) << merge << ": " << error;
  }
  EXPECT_EQ(
      error_after([](json::object& file) { model_of(file)["merges"].as_array().push_back("x y"); }),
      "t.json: merge 3 (\"x\" with \"y\") makes a piece that is not in the vocabulary");
}

TEST(HfTokenizer, WrongConfig_IsRefusedByName) {
  EXPECT_EQ(config_error("{}"), "");
  EXPECT_EQ(config_error(R"({"add_bos_token": 1})"),
            "c.json: add_bos_token is the number 1, expected true or false");
  EXPECT_EQ(config_error(R"({"bos_token": "<nope>"})"),
            "c.json: bos_token is \"<nope>\", expected the text of a token in tokenizer.json");
  EXPECT_EQ(config_error(R"({"eos_token": {"text": "<s>"}})"),
            "c.json: eos_token.content is missing, expected a string");
  EXPECT_EQ(config_error(R"({"add_eos_token": true})"),
            "c.json: add_eos_token is true, expected false");
  EXPECT_EQ(config_error(R"({"add_bos_token": true})"),
            "c.json: bos_token is missing, expected a token, because add_bos_token is true");
  EXPECT_EQ(config_error("[]"), "c.json: root is an array of 0, expected an object");
  EXPECT_EQ(config_error("{").find("c.json: "), 0u);
}

TEST(HfTokenizer, BrokenJson_NamesTheFile) {
  const std::string whole = json::serialize(small_tokenizer_json());
  EXPECT_EQ(parse_hf_tokenizer("", "t.json").message().find("t.json: "), 0u);
  for (size_t cut = 0; cut < whole.size(); cut += 7) {
    ASSERT_FALSE(parse_hf_tokenizer(whole.substr(0, cut), "t.json").ok());
  }
  EXPECT_FALSE(parse_hf_tokenizer(std::string(1000, '['), "t.json").ok());
}

TEST(HfTokenizer, Directory_ReadsBothFilesAndSaysWhatIsMissing) {
  const std::filesystem::path directory =
      std::filesystem::path(::testing::TempDir()) / "sparrow_hf_tokenizer_test";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  const auto missing = read_hf_tokenizer(directory.string());
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_NE(missing.message().find("tokenizer.json"), std::string::npos);

  ASSERT_TRUE(write_file_atomically((directory / "tokenizer.json").string(),
                                    json::serialize(small_tokenizer_json()))
                  .ok());
  ASSERT_TRUE(read_hf_tokenizer(directory.string()).ok());
  ASSERT_TRUE(write_file_atomically((directory / "tokenizer_config.json").string(),
                                    R"({"bos_token": "<s>"})")
                  .ok());
  const auto spec = read_hf_tokenizer(directory.string());
  ASSERT_TRUE(spec.ok()) << spec.message();
  EXPECT_EQ(spec->bos_token_id, 259);
  ASSERT_TRUE(write_file_atomically((directory / "tokenizer_config.json").string(), "").ok());
  EXPECT_FALSE(read_hf_tokenizer(directory.string()).ok());
  std::filesystem::remove_all(directory);
}

// The fuzz entry on mutated files, texts and ids: it CHECKs its own properties.
TEST(TokenizerFuzz, MutatedInputs_DoNotCrash) {
  std::string file = json::serialize(small_tokenizer_json());
  file += '\0';
  file += R"({"add_bos_token": true, "bos_token": "<s>", "eos_token": {"content": "<s>"}})";
  const std::string text = "hello <s> ab<ab> e\u0301é 你好\xFF 12\r\n  aaaa<ab";
  constexpr int kNumRounds = 1500;
  for (int round = 0; round < kNumRounds; ++round) {
    uint64_t counter = 0;
    const auto draw = [&](uint64_t bound) {
      return random_bits(7, static_cast<uint64_t>(round), counter++) % bound;
    };
    const auto mode = static_cast<char>(round % 3);
    std::string input(1, mode);
    input += mode == 0 ? file : text;
    const size_t num_edits = 1 + draw(4);
    for (size_t edit = 0; edit < num_edits; ++edit) {
      const size_t at = 1 + draw(input.size() - 1);
      switch (draw(4)) {
        case 0:
          input[at] = static_cast<char>(draw(256));
          break;
        case 1:
          input.erase(at, 1 + draw(8));
          break;
        case 2:
          input.insert(at, input.substr(1 + draw(input.size() - 1), draw(16)));
          break;
        default:
          input.insert(at, std::to_string(draw(1u << 22)));
      }
      if (input.size() < 2) input += "xx";
    }
    ASSERT_EQ(LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size()),
              0);
  }
}

}  // namespace
}  // namespace sparrow
