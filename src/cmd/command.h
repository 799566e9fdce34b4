#pragma once
// Command: one subcommand of the program: its option table and the function that runs it.
// Only cmd/ prints and chooses exit codes: 0 done, 1 failed, 2 wrong usage, 3 a server whose step
// hung (engine_stop.h).

#include <span>
#include <vector>

#include "base/options.h"

namespace sparrow {

struct Command {
  const CommandSpec& (*spec)();
  int (*run)(const OptionValues& values);
};

// The commands of this program: all, or those of the engine cut (CMake's SPARROW_CUT).
struct CommandList {
  std::span<const Command> commands;
  const char* examples;  // lines of the usage text
};
extern const CommandList kCommandList;

const CommandSpec& serve_spec();
int run_serve(const OptionValues& values);
const CommandSpec& run_spec();
int run_run(const OptionValues& values);
const CommandSpec& tokenize_spec();
int run_tokenize(const OptionValues& values);
const CommandSpec& pull_spec();
int run_pull(const OptionValues& values);
const CommandSpec& synth_spec();
int run_synth(const OptionValues& values);
const CommandSpec& quantize_spec();
int run_quantize(const OptionValues& values);
const CommandSpec& key_spec();
int run_key(const OptionValues& values);
const CommandSpec& bench_spec();
int run_bench(const OptionValues& values);
const CommandSpec& cache_spec();
int run_cache(const OptionValues& values);

// Prints "error: message" to stderr and returns the exit code 1.
int fail(const Status& status);

}  // namespace sparrow
