#include "api/answers/answer_hints.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cstdint>

#include "api/request/chat_request.h"
#include "api/request/field_table.h"
#include "base/utf8.h"

namespace sparrow::api {
namespace {

namespace json = boost::json;

// Longer ones are no common questions; bounds what a key costs to make.
constexpr size_t kMaxQuestionBytes = 4096;
constexpr size_t kMaxConversationBytes = 32768;

constexpr const char* kSamplingFields[] = {"temperature", "top_p", "top_k", "min_p", "seed"};

constexpr std::string_view kSpaces = " \t\r\n";
constexpr std::string_view kFinalMarks[] = {".", "?", "\u3002", "\uFF61"};

void trim(std::string& text) {
  const size_t end = text.find_last_not_of(kSpaces);
  text.resize(end == std::string::npos ? 0 : end + 1);
  text.erase(0, text.find_first_not_of(kSpaces));
}

// U+FF01..U+FF5E stand where ASCII's 0x21..0x7E do; U+3000 is their space.
std::string half_width(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t size = std::max<size_t>(utf8_sequence_len(text), 1);
    const std::string_view one = text.substr(0, size);
    text.remove_prefix(size);
    if (one == "\u3000") {
      out += ' ';
    } else if (size == 3 && one >= "\uFF01" && one <= "\uFF5E") {
      const auto code = static_cast<unsigned>((static_cast<uint8_t>(one[1]) & 0x3F) << 6 |
                                              (static_cast<uint8_t>(one[2]) & 0x3F));
      out += static_cast<char>(code - (0xFF01 & 0xFFF) + 0x21);
    } else {
      out += one;
    }
  }
  return out;
}

void collapse_spaces(std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool is_space = c == ' ' || c == '\t';
    if (!is_space) {
      out += c;
    } else if (out.empty() || out.back() != ' ') {
      out += ' ';
    }
  }
  text = std::move(out);
}

}  // namespace

std::string normalise_question(std::string_view text) {
  std::string out = half_width(text);
  trim(out);
  if (out.find('\n') == std::string::npos) collapse_spaces(out);
  for (const std::string_view mark : kFinalMarks) {
    if (!out.ends_with(mark)) continue;
    out.resize(out.size() - mark.size());
    trim(out);
    break;
  }
  return out;
}

AnswerHints read_answer_hints(const json::object& body) {
  AnswerHints hints;
  hints.is_seeded = read_value(body, "seed") != nullptr;
  hints.sampling_is_open = true;
  for (const char* name : kSamplingFields) {
    if (read_value(body, name) != nullptr) hints.sampling_is_open = false;
  }
  return hints;
}

void add_conversation(const ChatTurn& turn, AnswerHints& hints) {
  json::array messages = turn.chat.messages;
  json::object& last = messages.back().as_object();
  json::string* content = last.at("content").if_string();
  if (as_view(last.at("role").as_string()) != "user" || content == nullptr) return;
  if (content->size() > kMaxQuestionBytes) return;
  hints.question = std::string(as_view(*content));
  const std::string question = normalise_question(hints.question);
  if (question.empty()) return;
  *content = json::string_view(question.data(), question.size());
  const json::array whole = {turn.add_generation_prompt, turn.continue_final_message, turn.thinking,
                             turn.template_kwargs, std::move(messages)};
  std::string text = json::serialize(whole);
  if (text.size() <= kMaxConversationBytes) hints.conversation = std::move(text);
}

}  // namespace sparrow::api
