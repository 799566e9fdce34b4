// Fuzz entry of the chat template interpreter: template source, then optionally a zero byte and the
// variables as JSON. Properties are CHECKed: no input may crash, what is refused says why, what is
// rendered keeps the budget and renders the same twice.

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/json.h"
#include "tokenizer/chat_template.h"

namespace sparrow {
namespace {

constexpr size_t kMaxInputBytes = 1u << 16;
constexpr ChatTemplateLimits kLimits{.max_steps = 20000, .max_output_bytes = 1u << 16};

const char* const kVariables = R"({"messages": [{"role": "user", "content": "a汉 b\n"},
  {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments":
  {"x": [1, 2.5, true]}}}]}], "tools": null, "add_generation_prompt": true, "bos_token": "<s>",
  "eos_token": "</s>"})";

void fuzz_template(std::string_view source, std::string_view variables) {
  const auto parsed = ChatTemplate::parse(source, kLimits);
  if (!parsed.ok()) {
    CHECK(!parsed.message().empty());
    return;
  }
  const auto json = parse_json(variables, "variables");
  if (!json.ok() || !json->is_object()) return;
  const Result<std::string> text = (*parsed)->render(json->as_object());
  if (!text.ok()) {
    CHECK(!text.message().empty());
    return;
  }
  CHECK(text->size() <= kLimits.max_output_bytes);
  if (source.find("strftime_now") != std::string_view::npos) return;
  const Result<std::string> again = (*parsed)->render(json->as_object());
  CHECK(again.ok() && *again == *text);
}

}  // namespace
}  // namespace sparrow

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > sparrow::kMaxInputBytes) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t zero = bytes.find('\0');
  const std::string_view variables =
      zero == std::string_view::npos ? sparrow::kVariables : bytes.substr(zero + 1);
  sparrow::fuzz_template(bytes.substr(0, zero), variables);
  return 0;
}
