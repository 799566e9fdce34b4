#include "base/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <deque>

#include "base/env.h"

namespace sparrow {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

bool parse_bool(std::string_view text, bool& value) {
  for (const char* yes : {"true", "1", "yes", "on"}) {
    if (text == yes) return value = true, true;
  }
  for (const char* no : {"false", "0", "no", "off"}) {
    if (text == no) return value = false, true;
  }
  return false;
}

bool is_number_type(OptionType type) {
  return type == OptionType::kInt || type == OptionType::kSize || type == OptionType::kNumber;
}

bool parse_decimal(std::string_view text, double& value) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc() && result.ptr == text.data() + text.size() &&
         std::isfinite(value);
}

std::string range_text(const OptionSpec& spec) {
  if (spec.min <= -9e15 && spec.max >= 9e15) return "";
  if (spec.max >= 9e15) return fmt::format("at least {}", spec.min);
  return fmt::format("{} to {}", spec.min, spec.max);
}

}  // namespace

Result<int64_t> parse_size(std::string_view text) {
  // "6GiB" and "6G" are binary, "6GB" and "6g" decimal.
  constexpr std::pair<std::string_view, double> kSuffixes[] = {
      {"KiB", 1024.0},    {"MiB", 1048576.0}, {"GiB", 1073741824.0}, {"kB", 1e3},
      {"KB", 1e3},        {"MB", 1e6},        {"GB", 1e9},           {"k", 1e3},
      {"K", 1024.0},      {"m", 1e6},         {"M", 1048576.0},      {"g", 1e9},
      {"G", 1073741824.0}};
  double factor = 1;
  std::string_view digits = text;
  for (const auto& [suffix, value] : kSuffixes) {
    if (!digits.ends_with(suffix)) continue;
    factor = value;
    digits.remove_suffix(suffix.size());
    break;
  }
  double value = 0;
  if (!parse_decimal(digits, value) || std::fabs(value * factor) > 9e15) {
    return invalid_argument(
        fmt::format("'{}' is not a size (examples: 4096, 8K, 25.6k, 6GiB)", text));
  }
  return static_cast<int64_t>(std::llround(value * factor));
}

std::string option_env_name(std::string_view name) {
  std::string out = "SPARROW_";
  for (const char c : name) {
    out += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

const OptionValues::Value& OptionValues::value(std::string_view name) const {
  for (const Value& one : values_) {
    if (name == one.spec->name) return one;
  }
  CHECK(false && "option is not in the table");
  return values_.front();
}

bool OptionValues::flag(std::string_view name) const { return value(name).number != 0; }
int64_t OptionValues::integer(std::string_view name) const {
  return static_cast<int64_t>(value(name).number);
}
double OptionValues::number(std::string_view name) const { return value(name).number; }
const std::string& OptionValues::text(std::string_view name) const {
  static const std::string kEmpty;
  const Value& one = value(name);
  return one.texts.empty() ? kEmpty : one.texts.front();
}
const std::vector<std::string>& OptionValues::list(std::string_view name) const {
  return value(name).texts;
}
bool OptionValues::has(std::string_view name) const {
  return std::any_of(values_.begin(), values_.end(),
                     [&](const Value& one) { return name == one.spec->name; });
}
bool OptionValues::given(std::string_view name) const { return value(name).given; }

// One pass over the arguments; the table says how many values a flag takes.
class OptionParser {
 public:
  explicit OptionParser(const CommandSpec& command) : command_(command) {
    for (const OptionSpec& spec : command.options) out_.values_.push_back({&spec, false, {}, 0});
  }

  Result<OptionValues> parse(const std::vector<std::string>& arguments) {
    for (const std::string& argument : arguments) queue_.push_back(argument);
    while (!queue_.empty()) {
      std::string argument = take();
      if (only_positional_ || argument.size() < 2 || argument[0] != '-' || is_negative(argument)) {
        RETURN_IF_ERROR(add_positional(std::move(argument)));
      } else if (argument == "--") {
        only_positional_ = true;
      } else if (argument == "-h" || argument == "--help") {
        out_.help_asked_ = true;
        return std::move(out_);
      } else {
        RETURN_IF_ERROR(take_option(std::move(argument)));
      }
    }
    for (OptionValues::Value& value : out_.values_) RETURN_IF_ERROR(complete(value));
    return std::move(out_);
  }

 private:
  static bool is_negative(const std::string& text) {
    double ignored = 0;
    return parse_decimal(text, ignored);
  }

  std::string take() {
    std::string text = std::move(queue_.front());
    queue_.pop_front();
    return text;
  }

  Status add_positional(std::string argument) {
    if (*command_.positional == '\0')
      return error(fmt::format("unexpected argument '{}'", argument));
    out_.positional_.push_back(std::move(argument));
    return ok_status();
  }

  // "--max_model_len=8K" -> name "max-model-len", with "8K" put back at the front.
  Status take_option(std::string argument) {
    const size_t cut = argument.find_first_of("= ");
    bool has_value = false;
    if (cut != std::string::npos) {
      queue_.push_front(argument.substr(cut + 1));
      argument.resize(cut);
      has_value = true;
    }
    std::replace(argument.begin(), argument.end(), '_', '-');
    bool negated = false;
    OptionValues::Value* value = find(argument, negated);
    if (value == nullptr) return unknown(argument);
    value->texts = value->given && value->spec->type == OptionType::kList
                       ? std::move(value->texts)
                       : std::vector<std::string>{};
    value->given = true;
    if (value->spec->type == OptionType::kFlag) return take_flag(*value, negated, has_value);
    if (queue_.empty()) return error(fmt::format("{} needs a value", argument));
    do {
      value->texts.push_back(take());
    } while (value->spec->type == OptionType::kList && !has_value && more_list_values());
    return ok_status();
  }

  // Further values of a list stand behind it until the next flag; a positional is given before.
  bool more_list_values() const {
    return !queue_.empty() && (queue_.front().empty() || queue_.front()[0] != '-');
  }

  Status take_flag(OptionValues::Value& value, bool negated, bool has_value) {
    bool on = true;
    bool ignored = false;
    const bool next_is_bool = !queue_.empty() && parse_bool(queue_.front(), ignored);
    if (has_value || next_is_bool) {
      const std::string text = take();
      if (!parse_bool(text, on)) {
        return error(fmt::format("--{} takes true or false, got '{}'", value.spec->name, text));
      }
    }
    value.texts = {on != negated ? "true" : "false"};
    return ok_status();
  }

  OptionValues::Value* find(std::string_view argument, bool& negated) {
    const std::string_view name = argument.substr(argument.starts_with("--") ? 2 : 1);
    for (OptionValues::Value& value : out_.values_) {
      const OptionSpec& spec = *value.spec;
      negated =
          spec.type == OptionType::kFlag && name.starts_with("no-") && name.substr(3) == spec.name;
      if (negated || (argument.starts_with("--") && name == spec.name)) return &value;
      for (const std::string_view alias : split(spec.aliases, '|')) {
        if (alias == argument) return &value;
      }
    }
    return nullptr;
  }

  Status complete(OptionValues::Value& value) {
    const OptionSpec& spec = *value.spec;
    if (!value.given) {
      const std::string variable = option_env_name(spec.name);
      if (const auto text = env_string(variable.c_str())) {
        value.texts = {*text};
        value.given = true;
      } else if (*spec.default_text != '\0') {
        value.texts = {spec.default_text};
      }
    }
    if (spec.type == OptionType::kList) split_list(value);
    if (value.texts.empty()) return ok_status();
    return convert(value);
  }

  static void split_list(OptionValues::Value& value) {
    std::vector<std::string> parts;
    for (const std::string& text : value.texts) {
      for (const std::string_view part : split(text, ',')) parts.emplace_back(part);
    }
    value.texts = std::move(parts);
  }

  Status convert(OptionValues::Value& value) {
    const OptionSpec& spec = *value.spec;
    const std::string& text = value.texts.front();
    if (spec.type == OptionType::kFlag) {
      bool on = false;
      if (!parse_bool(text, on)) return bad_value(spec, text, "true or false");
      value.number = on ? 1 : 0;
    } else if (is_number_type(spec.type)) {
      if (spec.type == OptionType::kNumber) {
        if (!parse_decimal(text, value.number)) return bad_value(spec, text, "a number");
      } else {
        const Result<int64_t> size = parse_size(text);
        if (!size.ok()) return bad_value(spec, text, "a whole number such as 4096 or 8K");
        value.number = static_cast<double>(*size);
      }
      if (value.number < spec.min || value.number > spec.max) {
        return bad_value(spec, text, range_text(spec));
      }
    } else if (*spec.choices != '\0') {
      const auto choices = split(spec.choices, '|');
      if (std::find(choices.begin(), choices.end(), text) == choices.end()) {
        return bad_value(spec, text, fmt::format("one of {}", fmt::join(choices, ", ")));
      }
    }
    return ok_status();
  }

  Status bad_value(const OptionSpec& spec, const std::string& text, std::string_view accepted) {
    return error(fmt::format("--{} must be {}, got '{}'", spec.name, accepted, text));
  }

  Status unknown(const std::string& argument) {
    const std::string_view name =
        std::string_view(argument).substr(argument.starts_with("--") ? 2 : 1);
    std::string near;
    for (const OptionSpec& spec : command_.options) {
      const std::string_view known = spec.name;
      const bool similar =
          name.size() >= 4 && (known.find(name) != known.npos || name.find(known) != name.npos ||
                               known.substr(0, 5) == name.substr(0, 5));
      if (similar) near += fmt::format("{}--{}", near.empty() ? "; did you mean " : ", ", known);
    }
    return error(fmt::format("unknown option {}{}", argument, near));
  }

  Status error(std::string message) const {
    return invalid_argument(fmt::format("{} (see: sparrow {} --help)", message, command_.name));
  }

  const CommandSpec& command_;
  OptionValues out_;
  std::deque<std::string> queue_;
  bool only_positional_ = false;
};

Result<OptionValues> parse_options(const CommandSpec& command,
                                   const std::vector<std::string>& arguments) {
  return OptionParser(command).parse(arguments);
}

}  // namespace sparrow
