// Fuzz entry of the file of `sparrow cache warm`: every line becomes a request body that is JSON of
// one line, or the whole file is refused with the line's number.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/json.h"
#include "base/utf8.h"
#include "cmd/warm/warm_questions.h"

namespace sparrow {
namespace {

void check_questions(std::string_view text) {
  const auto questions = parse_warm_questions(text, "faq.txt");
  if (!questions.ok()) {
    CHECK(questions.message().starts_with("faq.txt"));
    CHECK(questions.message().find('\n') == std::string::npos);
    return;
  }
  CHECK(!questions->empty());
  size_t line = 0;
  for (const WarmQuestion& question : *questions) {
    CHECK(question.line > line);
    line = question.line;
    CHECK(!question.shown.empty() && question.shown.find('\n') == std::string::npos);
    CHECK(is_valid_utf8(question.shown) && is_valid_utf8(question.body));
    CHECK(question.body.find('\n') == std::string::npos);
    const auto body = parse_json(question.body, "the body");
    CHECK(body.ok() && body->is_object() && body->get_object().contains("messages"));
  }
}

}  // namespace
}  // namespace sparrow

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sparrow::check_questions({reinterpret_cast<const char*>(data), size});
  return 0;
}
