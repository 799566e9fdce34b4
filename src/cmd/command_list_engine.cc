// The commands of the engine cut (SPARROW_CUT=engine): what runs and measures without the server.

#include "cmd/command.h"

namespace sparrow {
namespace {

constexpr Command kCommands[] = {
    {run_spec, run_run},     {tokenize_spec, run_tokenize}, {bench_spec, run_bench},
    {synth_spec, run_synth}, {quantize_spec, run_quantize},
};

}  // namespace

constexpr CommandList kCommandList = {
    .commands = kCommands,
    .examples =
        "  sparrow synth --config r1-distill-qwen-1.5b --type q8_0 --out r1-q8_0.gguf\n"
        "  sparrow bench --model r1-q8_0.gguf --json\n"
        "  sparrow COMMAND --help                            every option with its default\n"};

}  // namespace sparrow
