// sparrow synth: writes a model with random weights in the shapes of a real one.

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/clock.h"
#include "cmd/command.h"
#include "cmd/progress.h"
#include "tools/synth/synth_model.h"

namespace sparrow {
namespace {

constexpr OptionSpec kOptions[] = {
    {.name = "config",
     .type = OptionType::kString,
     .default_text = "tiny",
     .help = "tiny, r1-distill-qwen-1.5b, or a config.json whose shapes to use"},
    {.name = "type",
     .type = OptionType::kString,
     .default_text = "bf16",
     .help = "Type of every matrix; quantized types need a .gguf file",
     .choices = "f32|bf16|f16|q8_0|q6_k|q5_k|q5_1|q5_0|q4_k|q4_1|q4_0"},
    {.name = "tokenizer",
     .type = OptionType::kString,
     .default_text = "",
     .help = "Directory whose tokenizer files go into the model; default: one token per byte"},
    {.name = "seed",
     .type = OptionType::kInt,
     .default_text = "0",
     .help = "The same seed gives the same file",
     .min = 0},
    {.name = "out",
     .type = OptionType::kString,
     .default_text = "",
     .help = "*.gguf: one file; else a Hugging Face directory",
     .aliases = "-o"},
    {.name = "threads",
     .type = OptionType::kInt,
     .default_text = "",
     .help = "Threads; default: all",
     .min = 1,
     .max = 1024,
     .aliases = "-t"},
};

constexpr const char* kExamples =
    "  sparrow synth --config tiny --out /tmp/tiny\n"
    "  sparrow synth --config r1-distill-qwen-1.5b --type q8_0 --out r1-q8_0.gguf\n"
    "  sparrow synth --config DIR/config.json --tokenizer DIR --type bf16 --seed 3 --out copy\n";

}  // namespace

const CommandSpec& synth_spec() {
  static const CommandSpec kSpec{.name = "synth",
                                 .summary = "Write a model with random weights, to measure speed",
                                 .options = kOptions,
                                 .examples = kExamples};
  return kSpec;
}

int run_synth(const OptionValues& values) {
  SynthOptions options;
  options.config = values.text("config");
  options.tokenizer_dir = values.text("tokenizer");
  options.seed = static_cast<uint64_t>(values.integer("seed"));
  options.out_path = values.text("out");
  options.num_threads = static_cast<int>(values.integer("threads"));
  if (options.out_path.empty())
    return fail(invalid_argument("--out is missing: where shall the model go?"));
  const auto type = tensor_type_from_name(values.text("type"));
  if (!type) return fail(invalid_argument("--type: unknown type " + values.text("type")));
  options.type = *type;
  const RealClock clock;
  const TimePoint begin = clock.now();
  Progress progress("synth");
  const Status status = synth_model(options, [&](const SynthProgress& now) {
    progress.show(now.total_values == 0 ? 0
                                        : static_cast<double>(now.done_values) /
                                              static_cast<double>(now.total_values),
                  fmt::format("{:.2f} GB written", static_cast<double>(now.written_bytes) * 1e-9));
  });
  progress.clear();
  if (!status.ok()) return fail(status);
  std::fprintf(stderr, "wrote %s in %.1f s\n", options.out_path.c_str(),
               to_seconds(clock.now() - begin));
  return 0;
}

}  // namespace sparrow
