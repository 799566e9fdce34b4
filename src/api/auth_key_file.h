#pragma once
// The file of --api-key-file: one key a line, with its name and limits. Strict: a line that is not
// understood refuses the whole file, and the error names the line.
//
//   # name  key                rights and limits, all optional
//   alice   sha256:<64 hex>    rpm=60 tpm=100K concurrent=4
//   ops     sha256:<64 hex>    admin
//   old     key:PLAIN-TEXT     the key itself: works, with a warning
//
// A name may stand on several lines (the old and the new key while clients change over), with the
// same rights and limits on each. Stateless, thread-safe.

#include <string>
#include <string_view>
#include <vector>

#include "api/caller.h"
#include "base/status.h"

namespace sparrow::api {

inline constexpr size_t kMaxKeyFileBytes = 1u << 20;
inline constexpr size_t kMaxKeys = 4096;  // each request's key is compared with every one
inline constexpr size_t kMaxKeyBytes = 512;
inline constexpr size_t kMaxKeyNameBytes = 64;

struct KeyLine {
  int line = 0;
  std::string name;
  std::string digest;  // key_digest()
  KeyLimits limits;
  bool is_admin = false;
  bool is_plain = false;  // the file holds the key itself
};

// The error begins "line N: ". At least one key.
Result<std::vector<KeyLine>> parse_key_file(std::string_view text);
// A line that parse_key_file() reads back.
std::string key_file_line(const std::string& name, std::string_view digest, const KeyLimits& limits,
                          bool is_admin);

}  // namespace sparrow::api
