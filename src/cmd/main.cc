// The program: finds the subcommand, parses its options, runs it.

#include <cstdio>
#include <string>
#include <vector>

#include "cmd/command.h"
#include "cmd/version.h"

namespace sparrow {
namespace {

void print_usage(std::FILE* out) {
  std::fprintf(out, "sparrow %s: a complete private inference service in one binary\n\nCommands\n",
               kVersion);
  for (const Command& command : kCommandList.commands) {
    std::fprintf(out, "  %-10s %s\n", command.spec().name, command.spec().summary);
  }
  std::fprintf(out, "\nExamples\n%s", kCommandList.examples);
}

// docs/options.md is this text; a test compares them.
void print_markdown() {
  std::string out = "# Options\n\nMade by `sparrow help --markdown`; do not edit.\n";
  for (const Command& command : kCommandList.commands) {
    out += '\n';
    out += options_markdown(command.spec());
  }
  std::fputs(out.c_str(), stdout);
}

int run_command(const Command& command, const std::vector<std::string>& arguments) {
  const CommandSpec& spec = command.spec();
  Result<OptionValues> values = parse_options(spec, arguments);
  if (!values.ok()) {
    std::fprintf(stderr, "error: %s\n", values.message().c_str());
    return 2;
  }
  if (values->help_asked()) {
    std::fputs(options_help(spec).c_str(), stdout);
    return 0;
  }
  const int code = command.run(*values);
  // A full disk or a closed pipe must not look like success.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return fail(data_loss("the output could not be written completely"));
  }
  return code;
}

int run_program(const std::vector<std::string>& arguments) {
  const std::string name = arguments.empty() ? std::string() : arguments.front();
  if (name == "--version" || name == "version") {
    std::printf("sparrow %s\n", kVersion);
    return 0;
  }
  if (name == "help" && arguments.size() > 1 && arguments[1] == "--markdown") {
    print_markdown();
    return 0;
  }
  if (name.empty() || name == "help" || name == "--help" || name == "-h") {
    print_usage(name.empty() ? stderr : stdout);
    return name.empty() ? 2 : 0;
  }
  for (const Command& command : kCommandList.commands) {
    if (name == command.spec().name) {
      return run_command(command, {arguments.begin() + 1, arguments.end()});
    }
  }
  std::fprintf(stderr, "error: unknown command '%s'\n\n", name.c_str());
  print_usage(stderr);
  return 2;
}

}  // namespace

int fail(const Status& status) {
  std::fprintf(stderr, "error: %s\n", status.message().c_str());
  return 1;
}

}  // namespace sparrow

int main(int argc, char** argv) { return sparrow::run_program({argv + 1, argv + argc}); }
