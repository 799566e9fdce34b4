#include "api/friendly_message.h"

namespace sparrow::api {
namespace {

// U+4E00..U+9FFF in UTF-8: E4 B8 80 .. E9 BF BF.
bool has_chinese(std::string_view text) {
  for (size_t i = 0; i + 2 < text.size(); ++i) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(text[i + 1]);
    if (lead == 0xE4 && next >= 0xB8 && next <= 0xBF) return true;
    if (lead >= 0xE5 && lead <= 0xE9 && next >= 0x80 && next <= 0xBF) return true;
  }
  return false;
}

}  // namespace

std::string friendly_message(std::string_view question) {
  if (has_chinese(question)) {
    return "现在使用的人很多，暂时无法回答您的问题。请过一两分钟再试一次，谢谢您的耐心等待。";
  }
  return "Many people are using this server right now, so your question could not be answered. "
         "Please try again in a minute or two. Thank you for your patience.";
}

}  // namespace sparrow::api
