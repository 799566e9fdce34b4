#include "cmd/warm/warm_questions.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/utf8.h"

namespace sparrow {
namespace {

constexpr size_t kMaxLineBytes = 1 << 20;
constexpr size_t kShownBytes = 60;

std::string_view trimmed(std::string_view line) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t begin = line.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return line.substr(begin, line.find_last_not_of(kSpaces) - begin + 1);
}

std::string shortened(std::string_view text) {
  if (text.size() <= kShownBytes) return std::string(text);
  text = text.substr(0, kShownBytes);
  text.remove_suffix(utf8_incomplete_suffix_len(text));
  return std::string(text) + "...";
}

Result<WarmQuestion> parse_line(std::string_view line) {
  WarmQuestion question;
  if (line.front() != '{') {
    if (!is_valid_utf8(line)) return invalid_argument("the text is not UTF-8");
    question.shown = shortened(line);
    question.body = R"({"messages":[{"role":"user","content":)";
    append_json_string(question.body, line);
    question.body += "}]}";
    return question;
  }
  ASSIGN_OR_RETURN(boost::json::value value, parse_json(line, "the line"));
  boost::json::object* object = value.if_object();
  if (object == nullptr || !object->contains("messages")) {
    return invalid_argument("a JSON line needs \"messages\"");
  }
  (*object)["stream"] = false;
  question.shown = shortened(line);
  question.body = boost::json::serialize(*object);
  return question;
}

}  // namespace

Result<std::vector<WarmQuestion>> parse_warm_questions(std::string_view text,
                                                       std::string_view path) {
  std::vector<WarmQuestion> questions;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t size = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, size));
    text.remove_prefix(std::min(size + 1, text.size()));
    if (line.empty()) continue;
    if (line.size() > kMaxLineBytes) {
      return invalid_argument(
          fmt::format("{}:{}: a line may have at most {} bytes", path, number, kMaxLineBytes));
    }
    Result<WarmQuestion> question = parse_line(line);
    if (!question.ok()) {
      return invalid_argument(fmt::format("{}:{}: {}", path, number, question.message()));
    }
    question->line = number;
    questions.push_back(std::move(question).value());
  }
  if (questions.empty()) return invalid_argument(fmt::format("{} holds no question", path));
  return questions;
}

}  // namespace sparrow
