// The two printed forms of an option table: --help and docs/options.md.

#include <fmt/format.h>

#include <string>

#include "base/options.h"

namespace sparrow {
namespace {

const char* value_name(const OptionSpec& spec) {
  if (*spec.choices != '\0') return spec.choices;
  switch (spec.type) {
    case OptionType::kFlag:
      return "";
    case OptionType::kInt:
      return "N";
    case OptionType::kSize:
      return "SIZE";
    case OptionType::kNumber:
      return "X";
    case OptionType::kString:
      return "TEXT";
    case OptionType::kList:
      return "TEXT...";
  }
  return "";
}

std::string spelled(const OptionSpec& spec) {
  std::string out = fmt::format("--{}", spec.name);
  const std::string aliases = spec.aliases;
  size_t begin = 0;
  while (begin < aliases.size()) {
    const size_t end = std::min(aliases.find('|', begin), aliases.size());
    out += ", " + aliases.substr(begin, end - begin);
    begin = end + 1;
  }
  if (*value_name(spec) != '\0') out += fmt::format(" {}", value_name(spec));
  return out;
}

std::string facts(const OptionSpec& spec) {
  std::string out;
  if (*spec.unit != '\0') out += spec.unit;
  if (*spec.default_text != '\0') {
    out += fmt::format("{}default {}", out.empty() ? "" : ", ", spec.default_text);
  }
  return out;
}

}  // namespace

std::string options_help(const CommandSpec& command) {
  std::string out = fmt::format("sparrow {} {}{}[options]\n{}\n", command.name, command.positional,
                                *command.positional != '\0' ? " " : "", command.summary);
  std::string group = "?";
  for (const OptionSpec& spec : command.options) {
    if (group != spec.group) {
      group = spec.group;
      out += fmt::format("\n{}\n", group.empty() ? "Options" : group);
    }
    const std::string known = facts(spec);
    out += fmt::format("  {:<38} {}{}\n", spelled(spec), spec.help,
                       known.empty() ? "" : fmt::format(" ({})", known));
  }
  if (!command.options.empty()) {
    const char* name = command.options.front().name;
    out += fmt::format("\nEvery option can be set in the environment: --{} is {}.\n", name,
                       option_env_name(name));
  }
  if (*command.examples != '\0') out += fmt::format("\nExamples\n{}", command.examples);
  return out;
}

std::string options_markdown(const CommandSpec& command) {
  std::string out = fmt::format(
      "## sparrow {}\n\n{}.\n\n| option | default | unit | meaning |\n|---|---|---|---|\n",
      command.name, command.summary);
  for (const OptionSpec& spec : command.options) {
    std::string name = spelled(spec);
    for (size_t at = 0; (at = name.find('|', at)) != std::string::npos; at += 2)
      name.replace(at, 1, "\\|");
    out += fmt::format("| `{}` | {} | {} | {} |\n", name, spec.default_text, spec.unit, spec.help);
  }
  if (*command.examples != '\0') out += fmt::format("\n```\n{}```\n", command.examples);
  return out;
}

}  // namespace sparrow
