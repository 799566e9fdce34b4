#include "tools/bench/replay_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <string_view>

#include "base/file.h"
#include "base/json.h"

namespace sparrow {
namespace {

constexpr size_t kMaxFileBytes = size_t{256} << 20;

Result<std::vector<TokenId>> read_tokens(const boost::json::object& line, const char* text_key,
                                         const char* ids_key, const Tokenizer& tokenizer) {
  if (const boost::json::value* ids = line.if_contains(ids_key)) {
    if (!ids->is_array()) return invalid_argument(fmt::format("{} is no list", ids_key));
    std::vector<TokenId> tokens;
    for (const boost::json::value& id : ids->get_array()) {
      if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() > (1 << 30)) {
        return invalid_argument(fmt::format("{} holds something that is no token id", ids_key));
      }
      tokens.push_back(static_cast<TokenId>(id.get_int64()));
    }
    return tokens;
  }
  const boost::json::value* text = line.if_contains(text_key);
  if (text == nullptr || !text->is_string()) {
    return invalid_argument(fmt::format("\"{}\" (text) or \"{}\" is missing", text_key, ids_key));
  }
  const auto& string = text->get_string();
  return tokenizer.encode(std::string_view(string.data(), string.size()), {});
}

Result<ReplayText> read_line(std::string_view line, const std::string& where,
                             const Tokenizer& tokenizer) {
  ASSIGN_OR_RETURN(const boost::json::value root, parse_json(line, where));
  if (!root.is_object()) return invalid_argument("the line is no JSON object");
  ReplayText text;
  ASSIGN_OR_RETURN(text.prompt,
                   read_tokens(root.get_object(), "prompt", "input_tok_ids", tokenizer));
  ASSIGN_OR_RETURN(text.output,
                   read_tokens(root.get_object(), "output", "output_tok_ids", tokenizer));
  return text;
}

}  // namespace

Result<std::vector<ReplayText>> read_replay_file(const std::string& path,
                                                 const Tokenizer& tokenizer,
                                                 const ReplayLimits& limits) {
  ASSIGN_OR_RETURN(const std::string content, read_file(path, kMaxFileBytes));
  std::vector<ReplayText> texts;
  int number = 0;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    const std::string_view line = std::string_view(content).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}, line {}", path, number);
    Result<ReplayText> text = read_line(line, where, tokenizer);
    if (!text.ok()) return invalid_argument(fmt::format("{}: {}", where, text.message()));
    if (static_cast<int>(text->prompt.size()) > limits.max_prompt) continue;
    if (text->output.size() > static_cast<size_t>(limits.max_output)) {
      text->output.resize(static_cast<size_t>(limits.max_output));
    }
    if (text->prompt.empty() || text->output.size() < 2) continue;
    texts.push_back(std::move(text).value());
    if (static_cast<int>(texts.size()) == limits.max_texts) break;
  }
  if (!texts.empty()) return texts;
  return invalid_argument(
      fmt::format("{}: no text with a prompt of at most {} tokens and an output of two or more",
                  path, limits.max_prompt));
}

}  // namespace sparrow
