#pragma once
// A tiny tokenizer.json for tests: all bytes, a few merges, added tokens with every flag. Ids 0-255
// are the bytes themselves, so that expected ids can be read.

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <string>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/tokenizer.h"

namespace sparrow::test {

inline constexpr char kQwenPattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Pieces for the 256 bytes, then one for every merge: id 256 + rank.
inline TokenizerSpec byte_spec(std::vector<std::pair<std::string, std::string>> merges) {
  TokenizerSpec spec;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    spec.pieces.push_back(piece_of_bytes(std::string_view(&c, 1)));
  }
  for (const auto& [left, right] : merges) spec.pieces.push_back(left + right);
  spec.merges = std::move(merges);
  return spec;
}

inline std::shared_ptr<const Tokenizer> create_or_die(TokenizerSpec spec) {
  auto tokenizer = Tokenizer::create(std::move(spec));
  CHECK(tokenizer.ok());
  return *tokenizer;
}

// As a file: merges "h e", "l l", "he ll"; added tokens <s> (special) 259 and <think> 260.
inline boost::json::object small_tokenizer_json() {
  namespace json = boost::json;
  const TokenizerSpec spec = byte_spec({{"h", "e"}, {"l", "l"}, {"he", "ll"}});
  json::object vocab;
  for (size_t id = 0; id < spec.pieces.size(); ++id) vocab[spec.pieces[id]] = id;
  json::object split{{"type", "Split"},
                     {"pattern", json::object{{"Regex", kQwenPattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}};
  json::object byte_level{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  return json::object{
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens",
       json::array{json::object{{"id", 259}, {"content", "<s>"}, {"special", true}},
                   json::object{{"id", 260}, {"content", "<think>"}, {"normalized", false}}}},
      {"normalizer", json::object{{"type", "NFC"}}},
      {"pre_tokenizer",
       json::object{{"type", "Sequence"}, {"pretokenizers", json::array{split, byte_level}}}},
      {"post_processor", byte_level},
      {"decoder", byte_level},
      {"model", json::object{{"type", "BPE"},
                             {"dropout", nullptr},
                             {"unk_token", nullptr},
                             {"continuing_subword_prefix", ""},
                             {"end_of_word_suffix", ""},
                             {"fuse_unk", false},
                             {"byte_fallback", false},
                             {"vocab", vocab},
                             {"merges", json::array{"h e", "l l", "he ll"}}}}};
}

}  // namespace sparrow::test
