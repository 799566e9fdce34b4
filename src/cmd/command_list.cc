// Every command of the program, in the order of the usage text.

#include "cmd/command.h"

namespace sparrow {
namespace {

constexpr Command kCommands[] = {
    {serve_spec, run_serve},       {run_spec, run_run},     {tokenize_spec, run_tokenize},
    {pull_spec, run_pull},         {bench_spec, run_bench}, {synth_spec, run_synth},
    {quantize_spec, run_quantize}, {cache_spec, run_cache}, {key_spec, run_key},
};

}  // namespace

constexpr CommandList kCommandList = {
    .commands = kCommands,
    .examples =
        "  sparrow serve                                     the best model found, on "
        "http://127.0.0.1:8000\n"
        "  sparrow serve --model DIR-OR-FILE.gguf --port 9000\n"
        "  sparrow pull                                      download R1-Distill-Qwen-1.5B (3.6 "
        "GB)\n"
        "  sparrow run \"What is 17 * 23?\"                     one answer, thinking shown\n"
        "  sparrow COMMAND --help                            every option with its default\n"};

}  // namespace sparrow
