#pragma once
// The text side of read_hf_tokenizer(): tokenizer.json and tokenizer_config.json as strings. For
// tests and fuzzing; stateless, thread-safe. Everything in the texts is hostile until checked.

#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {

// Limits of both files: the largest published tokenizer.json has some 35 MB.
inline constexpr JsonLimits kTokenizerJsonLimits{.max_bytes = 64u << 20, .max_depth = 32};

// `path` and `config_path` name the texts in errors. An empty `config` means there is no such file.
Result<TokenizerSpec> parse_hf_tokenizer(std::string_view json, std::string_view path,
                                         std::string_view config = {},
                                         std::string_view config_path = {});

}  // namespace sparrow
