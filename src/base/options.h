#pragma once
// Options: each command declares its options once, in a table; parsing, validation, --help, the
// environment names (SPARROW_MAX_MODEL_LEN) and docs/options.md all come from it.
//
// Spelling is forgiving where other servers are: `_` and `-` are the same, `--flag=value` and
// `--flag value`, `-tp 1`, "--flag value" as one argument (split at its first space), sizes like
// 8K (8,192), 8k (8,000), 25.6k. Errors name flag, value, accepted range and the help command.
// Order: command line, then environment, then default.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sparrow {

enum class OptionType {
  kFlag,    // --name, --no-name, --name true|false
  kInt,     // whole number
  kSize,    // whole number with k K m M g G
  kNumber,  // decimal
  kString,
  kList,  // one or more strings; the flag may be repeated, values may be split by commas
};

struct OptionSpec {
  const char* name;  // "max-model-len"
  OptionType type;
  const char* default_text;  // as a user would write it; "" = none
  const char* help;          // one sentence, no full stop
  const char* unit = "";     // "tokens", "seconds"
  double min = -9e15;        // of kInt, kSize, kNumber
  double max = 9e15;
  const char* choices = "";  // "a|b|c" of kString
  const char* aliases = "";  // other spellings, "-tp|--tp"
  const char* group = "";    // heading in --help
};

struct CommandSpec {
  const char* name;  // "serve"
  const char* summary;
  const char* positional = "";  // "[MODEL]", "" = none
  std::span<const OptionSpec> options;
  const char* examples = "";  // worked command lines, one a line
};

// Parsed values, by option name. Asking for a name that is not in the table is a CHECK.
class OptionValues {
 public:
  bool flag(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  const std::string& text(std::string_view name) const;
  const std::vector<std::string>& list(std::string_view name) const;
  // The table has an option of this name.
  bool has(std::string_view name) const;
  // Given on the command line or in the environment, not by default.
  bool given(std::string_view name) const;
  const std::vector<std::string>& positional() const { return positional_; }
  bool help_asked() const { return help_asked_; }

 private:
  friend class OptionParser;
  struct Value {
    const OptionSpec* spec;
    bool given = false;
    std::vector<std::string> texts;
    double number = 0;
  };
  const Value& value(std::string_view name) const;

  std::vector<Value> values_;
  std::vector<std::string> positional_;
  bool help_asked_ = false;
};

// `arguments` without program and command name.
Result<OptionValues> parse_options(const CommandSpec& command,
                                   const std::vector<std::string>& arguments);
std::string options_help(const CommandSpec& command);      // for a terminal
std::string options_markdown(const CommandSpec& command);  // a section of docs/options.md
// "max-model-len" -> "SPARROW_MAX_MODEL_LEN"
std::string option_env_name(std::string_view name);
// "8K" -> 8192, "25.6k" -> 25600, "6GiB", "6GB"; nothing else than digits, one point and one
// suffix.
Result<int64_t> parse_size(std::string_view text);

}  // namespace sparrow
