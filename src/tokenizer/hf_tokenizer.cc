#include "tokenizer/hf_tokenizer.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <algorithm>

#include "base/file.h"
#include "tokenizer/json_fields.h"

namespace sparrow {
namespace {

namespace json = boost::json;

// What ByteLevel splits with when use_regex is set: the pattern of GPT-2.
constexpr char kGpt2Pattern[] =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr size_t kMaxSequence = 16;  // parts of a normalizer or pre-tokenizer

// The parts of a component that may be one object or a Sequence of them under `list_key`.
Result<std::vector<JsonFields>> parts_of(const JsonFields& owner, std::string_view key,
                                         std::string_view list_key) {
  std::vector<JsonFields> parts;
  if (owner.find(key) == nullptr) return parts;
  ASSIGN_OR_RETURN(const JsonFields component, owner.object(key));
  ASSIGN_OR_RETURN(const std::string type, component.string("type"));
  if (type != "Sequence") {
    parts.push_back(component);
    return parts;
  }
  ASSIGN_OR_RETURN(const json::array* list, component.array(list_key));
  if (list->size() > kMaxSequence) {
    return component.refusal(list_key, fmt::format("at most {} parts", kMaxSequence));
  }
  for (size_t i = 0; i < list->size(); ++i) {
    ASSIGN_OR_RETURN(
        JsonFields part,
        JsonFields::of((*list)[i], fmt::format("{}[{}]", component.where(list_key), i)));
    parts.push_back(std::move(part));
  }
  return parts;
}

Status read_normalizer(const JsonFields& root, TokenizerSpec& spec) {
  ASSIGN_OR_RETURN(const auto parts, parts_of(root, "normalizer", "normalizers"));
  for (const JsonFields& part : parts) {
    ASSIGN_OR_RETURN(const std::string type, part.string("type"));
    if (type != "NFC") return part.refusal("type", "NFC (other normalizers are not supported)");
    spec.nfc = true;
  }
  return ok_status();
}

Status read_split(const JsonFields& part, TokenizerSpec& spec) {
  if (!spec.split_pattern.empty()) {
    return unimplemented(fmt::format("{} is a second Split, expected only one", part.where()));
  }
  ASSIGN_OR_RETURN(const JsonFields pattern, part.object("pattern"));
  if (pattern.find("Regex") == nullptr) return pattern.refusal("Regex", "a regular expression");
  ASSIGN_OR_RETURN(spec.split_pattern, pattern.string("Regex"));
  if (spec.split_pattern.empty()) return pattern.mismatch("Regex", "a pattern that is not empty");
  ASSIGN_OR_RETURN(const std::string behavior, part.string("behavior"));
  if (behavior != "Isolated") return part.refusal("behavior", "Isolated");
  ASSIGN_OR_RETURN(const bool invert, part.boolean("invert", false));
  if (invert) return part.refusal("invert", "false");
  return ok_status();
}

Status read_pre_tokenizer(const JsonFields& root, TokenizerSpec& spec) {
  ASSIGN_OR_RETURN(const auto parts, parts_of(root, "pre_tokenizer", "pretokenizers"));
  bool is_byte_level = false;
  for (const JsonFields& part : parts) {
    ASSIGN_OR_RETURN(const std::string type, part.string("type"));
    if (is_byte_level) {
      return unimplemented(
          fmt::format("{} is {}, expected nothing after ByteLevel", part.where("type"), type));
    }
    if (type == "Split") {
      RETURN_IF_ERROR(read_split(part, spec));
    } else if (type == "ByteLevel") {
      is_byte_level = true;
      ASSIGN_OR_RETURN(const bool prefix_space, part.boolean("add_prefix_space", true));
      if (prefix_space) return part.refusal("add_prefix_space", "false");
      ASSIGN_OR_RETURN(const bool use_regex, part.boolean("use_regex", true));
      if (use_regex && !spec.split_pattern.empty()) {
        return part.refusal("use_regex", "false after a Split");
      }
      if (use_regex) spec.split_pattern = kGpt2Pattern;
    } else {
      return part.refusal("type", "Split or ByteLevel");
    }
  }
  if (!is_byte_level) {
    return unimplemented(
        fmt::format("{} has no ByteLevel part, expected one (only byte-level BPE is supported)",
                    root.where("pre_tokenizer")));
  }
  return ok_status();
}

Status read_decoder(const JsonFields& root) {
  ASSIGN_OR_RETURN(const auto parts, parts_of(root, "decoder", "decoders"));
  if (parts.empty()) return root.refusal("decoder", "ByteLevel");
  for (const JsonFields& part : parts) {
    ASSIGN_OR_RETURN(const std::string type, part.string("type"));
    if (type != "ByteLevel") return part.refusal("type", "ByteLevel");
  }
  return ok_status();
}

// Reads one id of model.vocab or added_tokens.
Result<TokenId> read_id(const json::value& value, std::string_view where) {
  const int64_t* number = value.if_int64();
  if (number == nullptr || *number < 0 || *number >= Tokenizer::kMaxTokens) {
    return invalid_argument(fmt::format("{} is {}, expected an id from 0 to {}", where,
                                        describe_json(value), Tokenizer::kMaxTokens - 1));
  }
  return static_cast<TokenId>(*number);
}

Status read_vocab(const JsonFields& model, TokenizerSpec& spec) {
  ASSIGN_OR_RETURN(const JsonFields vocab, model.object("vocab"));
  // An id is checked before memory is taken for it: few tokens cannot claim a large table.
  const size_t max_ids = vocab.json().size() + Tokenizer::kMaxHoles;
  spec.pieces.reserve(vocab.json().size());
  for (const auto& [piece, value] : vocab.json()) {
    if (piece.empty()) return invalid_argument(vocab.where() + " has an empty piece");
    const auto where = [&] {
      return fmt::format("{}[{}]", vocab.where(), describe_json(json::value(piece)));
    };
    const int64_t* number = value.if_int64();
    if (number == nullptr || *number < 0 || *number >= Tokenizer::kMaxTokens) {
      return read_id(value, where()).status();
    }
    const auto id = static_cast<size_t>(*number);
    if (id >= max_ids) {
      return invalid_argument(
          fmt::format("{} is {}, expected at most {} for a vocabulary of {} pieces", where(), id,
                      max_ids - 1, vocab.json().size()));
    }
    if (id >= spec.pieces.size()) spec.pieces.resize(id + 1);
    if (!spec.pieces[id].empty()) {
      return invalid_argument(
          fmt::format("{} is {}, expected an id that no other piece has ({} "
                      "has it)",
                      where(), id, describe_json(json::string(spec.pieces[id]))));
    }
    spec.pieces[id] = std::string_view(piece);
  }
  return ok_status();
}

Status read_merges(const JsonFields& model, TokenizerSpec& spec) {
  ASSIGN_OR_RETURN(const json::array* merges, model.array("merges"));
  spec.merges.reserve(merges->size());
  for (size_t i = 0; i < merges->size(); ++i) {
    const json::value& merge = (*merges)[i];
    std::string_view left;
    std::string_view right;
    if (const json::string* text = merge.if_string()) {
      const std::string_view both = *text;
      const size_t space = both.find(' ');
      if (space != std::string_view::npos) {
        left = both.substr(0, space);
        right = both.substr(space + 1);
      }
    } else if (const json::array* pair = merge.if_array()) {
      if (pair->size() == 2 && (*pair)[0].is_string() && (*pair)[1].is_string()) {
        left = (*pair)[0].get_string();
        right = (*pair)[1].get_string();
      }
    }
    if (left.empty() || right.empty() || right.find(' ') != std::string_view::npos) {
      return invalid_argument(
          fmt::format("{}[{}] is {}, expected two pieces, as \"a b\" or [\"a\", \"b\"]",
                      model.where("merges"), i, describe_json(merge)));
    }
    spec.merges.emplace_back(left, right);
  }
  return ok_status();
}

Status read_model(const JsonFields& root, TokenizerSpec& spec) {
  ASSIGN_OR_RETURN(const JsonFields model, root.object("model"));
  if (model.json().contains("type")) {  // files of 2019 have none
    ASSIGN_OR_RETURN(const std::string type, model.string("type"));
    if (type != "BPE") return model.refusal("type", "BPE");
  }
  if (const json::value* dropout = model.find("dropout")) {
    const bool is_zero = (dropout->is_double() && dropout->get_double() == 0) ||
                         (dropout->is_int64() && dropout->get_int64() == 0);
    if (!is_zero) return model.refusal("dropout", "null");
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (model.find(key) == nullptr) continue;
    ASSIGN_OR_RETURN(const std::string affix, model.string(key));
    if (!affix.empty()) return model.refusal(key, "null or \"\"");
  }
  ASSIGN_OR_RETURN(const bool byte_fallback, model.boolean("byte_fallback", false));
  if (byte_fallback) return model.refusal("byte_fallback", "false");
  ASSIGN_OR_RETURN(spec.ignore_merges, model.boolean("ignore_merges", false));
  // unk_token and fuse_unk do nothing here: every byte has a piece, so nothing is ever unknown.
  RETURN_IF_ERROR(read_vocab(model, spec));
  return read_merges(model, spec);
}

Status read_added_tokens(const JsonFields& root, TokenizerSpec& spec) {
  if (root.find("added_tokens") == nullptr) return ok_status();
  ASSIGN_OR_RETURN(const json::array* tokens, root.array("added_tokens"));
  for (size_t i = 0; i < tokens->size(); ++i) {
    ASSIGN_OR_RETURN(
        const JsonFields fields,
        JsonFields::of((*tokens)[i], fmt::format("{}[{}]", root.where("added_tokens"), i)));
    AddedToken token;
    if (fields.find("id") == nullptr) return fields.mismatch("id", "an id");
    ASSIGN_OR_RETURN(token.id, read_id(*fields.find("id"), fields.where("id")));
    ASSIGN_OR_RETURN(token.content, fields.string("content"));
    ASSIGN_OR_RETURN(token.special, fields.boolean("special", false));
    ASSIGN_OR_RETURN(token.normalized, fields.boolean("normalized", !token.special));
    ASSIGN_OR_RETURN(token.single_word, fields.boolean("single_word", false));
    ASSIGN_OR_RETURN(token.lstrip, fields.boolean("lstrip", false));
    ASSIGN_OR_RETURN(token.rstrip, fields.boolean("rstrip", false));
    spec.added_tokens.push_back(std::move(token));
  }
  return ok_status();
}

// -1 when no token has that text.
TokenId find_token(const TokenizerSpec& spec, std::string_view content) {
  for (const AddedToken& token : spec.added_tokens) {
    if (token.content == content) return token.id;
  }
  const auto piece = std::find(spec.pieces.begin(), spec.pieces.end(), content);
  return piece == spec.pieces.end() ? -1 : static_cast<TokenId>(piece - spec.pieces.begin());
}

// A template whose "single" form puts one special token in front says how plain text starts.
Status read_template(const JsonFields& part, TokenizerSpec& spec) {
  constexpr char kExpected[] = "at most one SpecialToken, before the Sequence";
  ASSIGN_OR_RETURN(const json::array* single, part.array("single"));
  if (single->empty() || single->size() > 2) return part.refusal("single", kExpected);
  const size_t last = single->size() - 1;
  for (size_t i = 0; i <= last; ++i) {
    const std::string where = fmt::format("{}[{}]", part.where("single"), i);
    ASSIGN_OR_RETURN(const JsonFields item, JsonFields::of((*single)[i], where));
    if (i == last) {
      if (item.find("Sequence") == nullptr) return part.refusal("single", kExpected);
      break;
    }
    ASSIGN_OR_RETURN(const JsonFields special, item.object("SpecialToken"));
    ASSIGN_OR_RETURN(const std::string content, special.string("id"));
    spec.bos_token_id = find_token(spec, content);
    if (spec.bos_token_id < 0) return special.mismatch("id", "the text of a token");
    spec.add_bos = true;
  }
  return ok_status();
}

Status read_post_processor(const JsonFields& root, TokenizerSpec& spec) {
  ASSIGN_OR_RETURN(const auto parts, parts_of(root, "post_processor", "processors"));
  for (const JsonFields& part : parts) {
    ASSIGN_OR_RETURN(const std::string type, part.string("type"));
    if (type == "ByteLevel") continue;  // changes offsets only
    if (type != "TemplateProcessing") {
      return part.refusal("type", "ByteLevel or TemplateProcessing");
    }
    RETURN_IF_ERROR(read_template(part, spec));
  }
  return ok_status();
}

// bos_token or eos_token: a string, or an object with the string under "content".
Status read_special_token(const JsonFields& config, std::string_view key, const TokenizerSpec& spec,
                          TokenId& id) {
  const json::value* value = config.find(key);
  if (value == nullptr) return ok_status();
  std::string content;
  if (value->is_object()) {
    ASSIGN_OR_RETURN(const JsonFields fields, config.object(key));
    ASSIGN_OR_RETURN(content, fields.string("content"));
  } else {
    ASSIGN_OR_RETURN(content, config.string(key));
  }
  id = find_token(spec, content);
  if (id < 0) return config.mismatch(key, "the text of a token in tokenizer.json");
  return ok_status();
}

Status read_config(const JsonFields& config, TokenizerSpec& spec) {
  RETURN_IF_ERROR(read_special_token(config, "bos_token", spec, spec.bos_token_id));
  RETURN_IF_ERROR(read_special_token(config, "eos_token", spec, spec.eos_token_id));
  ASSIGN_OR_RETURN(const bool add_eos, config.boolean("add_eos_token", false));
  if (add_eos) return config.refusal("add_eos_token", "false");
  // The Llama classes add bos when the file does not say otherwise.
  bool add_bos = spec.add_bos;
  if (config.find("tokenizer_class") != nullptr) {
    ASSIGN_OR_RETURN(const std::string name, config.string("tokenizer_class"));
    if (name == "LlamaTokenizer" || name == "LlamaTokenizerFast") {
      add_bos = spec.bos_token_id >= 0;
    }
  }
  ASSIGN_OR_RETURN(spec.add_bos, config.boolean("add_bos_token", add_bos));
  if (spec.add_bos && spec.bos_token_id < 0) {
    return config.mismatch("bos_token", "a token, because add_bos_token is true");
  }
  return ok_status();
}

}  // namespace

Result<TokenizerSpec> parse_hf_tokenizer(std::string_view text, std::string_view path,
                                         std::string_view config, std::string_view config_path) {
  TokenizerSpec spec;
  spec.source = path;
  {
    ASSIGN_OR_RETURN(const json::value parsed, parse_json(text, path, kTokenizerJsonLimits));
    ASSIGN_OR_RETURN(JsonFields root, JsonFields::of(parsed, std::string(path) + ": root"));
    root = JsonFields(root.json(), std::string(path) + ": ");
    RETURN_IF_ERROR(read_model(root, spec));
    RETURN_IF_ERROR(read_added_tokens(root, spec));
    RETURN_IF_ERROR(read_normalizer(root, spec));
    RETURN_IF_ERROR(read_pre_tokenizer(root, spec));
    RETURN_IF_ERROR(read_decoder(root));
    RETURN_IF_ERROR(read_post_processor(root, spec));
    // truncation and padding are defaults of batch encoding, which callers choose for themselves.
  }
  if (!config.empty()) {
    ASSIGN_OR_RETURN(const json::value parsed,
                     parse_json(config, config_path, kTokenizerJsonLimits));
    ASSIGN_OR_RETURN(const JsonFields fields,
                     JsonFields::of(parsed, std::string(config_path) + ": root"));
    RETURN_IF_ERROR(read_config(JsonFields(fields.json(), std::string(config_path) + ": "), spec));
  }
  return spec;
}

Result<TokenizerSpec> read_hf_tokenizer(const std::string& directory) {
  const std::string path = directory + "/tokenizer.json";
  const std::string config_path = directory + "/tokenizer_config.json";
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kTokenizerJsonLimits.max_bytes));
  Result<std::string> config = read_file(config_path, kTokenizerJsonLimits.max_bytes);
  if (!config.ok() && config.status().code() != StatusCode::kNotFound) return config.status();
  if (config.ok() && config->empty()) {
    return data_loss(config_path + " is empty, expected a JSON object");
  }
  return parse_hf_tokenizer(
      text, path, config.ok() ? std::string_view(*config) : std::string_view(), config_path);
}

}  // namespace sparrow
