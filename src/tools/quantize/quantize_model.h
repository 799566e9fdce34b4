#pragma once
// quantize_model: a model of any readable type written in another one, tensor by tensor and piece
// by piece over all threads. Memory stays at some 16 MB pieces per stage and a row per thread
// (pages of the mapped source aside, which are dropped tensor by tensor). The result is the same
// for any number of threads and appears under its final name only when it is complete: a crash
// leaves nothing there, an error or a cancel not even the partial file.
//
//   ASSIGN_OR_RETURN(ModelFiles source, open_model("r1"));
//   ASSIGN_OR_RETURN(QuantizeReport report, quantize_model(source, options, {}));

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "model/model_files.h"
#include "tools/quantize/channel_scales.h"
#include "tools/quantize/quant_mix.h"
#include "tools/quantize/quantize_report.h"

namespace sparrow {

struct QuantizeOptions {
  QuantMix mix = QuantMix::kQ8_0;
  std::string out_path;    // *.gguf: a file; else a Hugging Face directory
  bool overwrite = false;  // replace a file, or a directory with a model
  // Folded into the tensors of a directory, whatever their types; null: none.
  const ChannelScales* channel_scales = nullptr;
  int num_threads = 0;                           // 0: as many as the process may use
  const std::atomic<bool>* cancelled = nullptr;  // looked at before every piece
};

struct QuantizeProgress {
  uint64_t done_values = 0;
  uint64_t total_values = 0;
  uint64_t written_bytes = 0;
  std::string_view tensor;  // the current one
};

// Called now and then from the calling thread, and once at the end.
using QuantizeProgressCallback = std::function<void(const QuantizeProgress&)>;

// Errors: the paths (the same, existing, not writable, disk full), a value that is NaN or infinite
// or does not fit the type (naming tensor and row), kCancelled.
// With channel_scales, errors of the report are those against the scaled source.
Result<QuantizeReport> quantize_model(const ModelFiles& source, const QuantizeOptions& options,
                                      const QuantizeProgressCallback& progress);

// For what stays plain beside grouped integers, their scales included: the source's 16-bit type,
// else BF16.
Result<TensorType> plain_type_beside_integers(const TensorSource& source);

}  // namespace sparrow
