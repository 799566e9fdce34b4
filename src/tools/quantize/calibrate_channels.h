#pragma once
// calibrate_channels: ChannelScales for w8 and w4 from a text. Layer by layer, the source reads the
// text in fp32 (layer_runner.h). For every kind of input the factors are rms^alpha of each channel,
// and alpha is the one of 0, 0.05 ... 1 whose quantized matrices, on inputs rounded to int8 per
// token as the CPU kernels do, come nearest to the source's outputs: the search of AWQ (Lin et al.
// 2023), on a sample of kSampleTokens tokens and kSampleRows rows of every matrix. What o and down
// add to the residual stream counts relative to the stream, because the next norm divides by it.
//
// Factors are chosen so that norm gains and the bias of v, divided by them, have exact values in
// the file's 16-bit type: folding itself rounds nothing but the matrices.
//
// Deterministic: the same for any number of threads. Memory: ChannelScales::memory_bytes.
//
//   ASSIGN_OR_RETURN(ChannelScales scales, calibrate_channels(source, tokens, options, progress));

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>

#include "base/status.h"
#include "core/ids.h"
#include "model/tensor_source.h"
#include "tools/quantize/channel_scales.h"
#include "tools/quantize/quant_mix.h"

namespace sparrow {

inline constexpr int64_t kSampleTokens = 512;
inline constexpr int64_t kSampleRows = 256;
inline constexpr int64_t kMinCalibrationTokens = 256;

struct CalibrateOptions {
  QuantMix mix = QuantMix::kW4;
  TensorType plain = TensorType::kBF16;  // of the file's norms, biases and scales
  TokenId bos = -1;                      // in front of every window; -1: none
  int64_t window_tokens = 512;           // at most the model's positions; cut to them
  int num_threads = 0;
  const std::atomic<bool>* cancelled = nullptr;  // looked at before every window and search
};

struct CalibrateProgress {
  int32_t layer = 0;  // the current one
  int32_t num_layers = 0;
  double share = 0;  // of the whole
};
using CalibrateProgressCallback = std::function<void(const CalibrateProgress&)>;

// Errors: a text of fewer than kMinCalibrationTokens, ids outside the vocabulary, a mix that is
// neither w8 nor w4, values that are no numbers, kCancelled.
Result<ChannelScales> calibrate_channels(const TensorSource& source,
                                         std::span<const TokenId> tokens,
                                         const CalibrateOptions& options,
                                         const CalibrateProgressCallback& progress);

// "calibrated on ...": a line per kind of input.
std::string calibration_text(const ChannelScales& scales);
std::string calibration_json(const ChannelScales& scales);

}  // namespace sparrow
