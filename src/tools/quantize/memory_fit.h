#pragma once
// FitTable: which types of a model fit into a given memory when it is served: packed weights, KV
// cache of one sequence of max_context tokens, workspace of a step. Pure arithmetic on the config,
// the executor's own plan (cpu_memory_plan.h); nothing is loaded.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/tensor_source.h"
#include "tools/quantize/quant_mix.h"

namespace sparrow {

struct FitRow {
  QuantMix mix = QuantMix::kF32;
  int64_t file_bytes = 0;     // tensors of the file
  int64_t weights_bytes = 0;  // packed in memory
  int64_t memory_bytes = 0;   // with KV cache and workspace
  bool fits = false;
  bool gains = false;  // holds no more than the source does: a wider type has nothing to add
};

struct FitTable {
  int64_t limit_bytes = 0;
  int32_t max_context = 0;
  int64_t kv_bytes = 0;
  int64_t workspace_bytes = 0;
  std::vector<FitRow> rows;      // best first
  std::optional<QuantMix> best;  // the first that fits and gains
};

// The types of a GGUF file, or of a directory. Error: max_context beyond the model's.
Result<FitTable> fit_table(const TensorSource& source, int32_t max_context, int64_t limit_bytes,
                           bool gguf);
std::string fit_text(const FitTable& table);
std::string fit_json(const FitTable& table);

}  // namespace sparrow
