// Fuzz entry of the key file. What was read must survive being written and read again, and an error
// names a line and shows nothing of a key.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/auth_digest.h"
#include "api/auth_key_file.h"
#include "base/check.h"

namespace sparrow::api {
namespace {

void check_key_file(std::string_view text) {
  if (!keys_are_hashed()) return;  // built without OpenSSL
  const auto keys = parse_key_file(text);
  if (!keys.ok()) {
    CHECK(keys.message().starts_with("line "));
    return;
  }
  CHECK(!keys->empty() && keys->size() <= kMaxKeys);
  std::string written;
  for (const KeyLine& key : *keys) {
    CHECK(key.digest.size() == 32 && !key.name.empty() && key.name.size() <= kMaxKeyNameBytes);
    written += key_file_line(key.name, key.digest, key.limits, key.is_admin) + "\n";
  }
  const auto again = parse_key_file(written);
  CHECK(again.ok() && again->size() == keys->size());
  for (size_t i = 0; i < keys->size(); ++i) {
    CHECK((*again)[i].name == (*keys)[i].name && (*again)[i].digest == (*keys)[i].digest);
    CHECK((*again)[i].is_admin == (*keys)[i].is_admin);
    CHECK((*again)[i].limits.tokens_per_minute == (*keys)[i].limits.tokens_per_minute);
  }
}

}  // namespace
}  // namespace sparrow::api

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sparrow::api::check_key_file({reinterpret_cast<const char*>(data), size});
  return 0;
}
