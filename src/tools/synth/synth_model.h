#pragma once
// synth_model: a model with random weights in the shapes of any Qwen2 config, for measuring speed
// (which does not depend on what the weights say) and for tests. Every matrix, embedding and head
// included, is in one type. The same seed gives the same values in every format, on every machine
// and for any number of threads. Memory stays at a few MiB per thread; the file appears under its
// final name only when it is complete.
//
//   Status status = synth_model({.config = "tiny", .type = TensorType::kBF16, .out_path = "m"},
//   {});

#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "model/model_config.h"
#include "quant/tensor_type.h"

namespace sparrow {

struct SynthOptions {
  std::string config = "tiny";  // "tiny", "r1-distill-qwen-1.5b" or the path of a config.json
  TensorType type = TensorType::kBF16;
  std::string tokenizer_dir;  // tokenizer.json and what lies beside it; empty: a byte tokenizer
  uint64_t seed = 0;
  std::string out_path;  // *.gguf: a GGUF file; else a Hugging Face directory
  int num_threads = 0;   // 0: as many as the process may use
};

struct SynthProgress {
  uint64_t done_values = 0;
  uint64_t total_values = 0;
  uint64_t written_bytes = 0;
};

// Called now and then from the calling thread, and once at the end.
using SynthProgressCallback = std::function<void(const SynthProgress&)>;

Status synth_model(const SynthOptions& options, const SynthProgressCallback& progress);

// The named or read config, before a tokenizer has its say; for help texts and tests.
Result<ModelConfig> synth_config(const std::string& name);

}  // namespace sparrow
