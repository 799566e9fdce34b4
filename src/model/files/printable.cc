#include "model/files/printable.h"

#include "base/json.h"

namespace sparrow {

std::string printable(std::string_view text) {
  constexpr size_t kShown = 80;
  std::string out;
  append_json_string(out, text.substr(0, kShown));
  if (text.size() > kShown) out += "...";
  return out;
}

}  // namespace sparrow
