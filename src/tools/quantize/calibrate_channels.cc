#include "tools/quantize/calibrate_channels.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/compute_pool.h"
#include "base/json.h"
#include "kernels/cpu_features.h"
#include "model/files/tensor_layout.h"
#include "quant/convert_int_groups.h"
#include "quant/convert_row.h"
#include "tools/quantize/layer_runner.h"
#include "tools/quantize/scale_search.h"

namespace sparrow {
namespace {

constexpr std::array<LayerInput, kNumLayerInputs> kInputs = {
    LayerInput::kQkv, LayerInput::kO, LayerInput::kGateUp, LayerInput::kDown};

std::vector<const char*> matrices_that_read(LayerInput input) {
  switch (input) {
    case LayerInput::kQkv:
      return {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"};
    case LayerInput::kO:
      return {"self_attn.o_proj.weight"};
    case LayerInput::kGateUp:
      return {"mlp.gate_proj.weight", "mlp.up_proj.weight"};
    case LayerInput::kDown:
      return {"mlp.down_proj.weight"};
  }
  return {};
}

// What is divided by the factors and stays plain; null: nothing.
const char* vector_that_makes(LayerInput input) {
  if (input == LayerInput::kQkv) return "input_layernorm.weight";
  if (input == LayerInput::kGateUp) return "post_attention_layernorm.weight";
  return input == LayerInput::kO ? "self_attn.v_proj.bias" : nullptr;
}

// Inputs of o that come from the same output of v.
SharedInputs shared_inputs(LayerInput input, const ModelConfig& config) {
  SharedInputs shared;
  if (input != LayerInput::kO) return shared;
  for (int32_t head = 0; head < config.num_heads; ++head) {
    for (int32_t i = 0; i < config.head_dim; ++i) {
      shared.push_back(int64_t{head / config.group_size()} * config.head_dim + i);
    }
  }
  return shared;
}

// The text in windows that begin with bos, if there is one.
std::vector<TokenId> windowed(std::span<const TokenId> tokens, TokenId bos, int64_t window) {
  if (bos < 0) return {tokens.begin(), tokens.end()};
  std::vector<TokenId> out;
  for (const TokenId id : tokens) {
    if (out.size() % static_cast<size_t>(window) == 0) out.push_back(bos);
    out.push_back(id);
  }
  return out;
}

class Calibrator {
 public:
  Calibrator(const TensorSource& source, const CalibrateOptions& options,
             const CalibrateProgressCallback& progress)
      : source_(source),
        config_(source.config()),
        options_(options),
        report_(progress),
        pool_(options.num_threads) {}

  Result<ChannelScales> run(std::span<const TokenId> tokens) {
    const RealClock clock;
    const TimePoint begin = clock.now();
    ASSIGN_OR_RETURN(kernels_, select_kernels(""));
    const int64_t window = std::min<int64_t>(options_.window_tokens, config_.max_position);
    const std::vector<TokenId> text = windowed(tokens, options_.bos, window);
    ASSIGN_OR_RETURN(runner_, LayerRunner::create(source_, text, window, pool_));
    for (int32_t layer = 0; layer < config_.num_layers; ++layer) {
      RETURN_IF_ERROR(run_layer(layer));
    }
    scales_.num_tokens = static_cast<int64_t>(tokens.size());
    scales_.memory_bytes += runner_->memory_bytes();
    scales_.seconds = to_seconds(clock.now() - begin);
    return std::move(scales_);
  }

 private:
  Status run_layer(int32_t layer) {
    show(layer, 0);
    RETURN_IF_ERROR(measure(layer));
    show(layer, 0.5);
    scales_.layers.emplace_back();
    for (const LayerInput input : kInputs) {
      ASSIGN_OR_RETURN(scales_.layers.back()[static_cast<size_t>(input)], search(layer, input));
      show(layer, 0.5 + 0.125 * (1 + static_cast<double>(input)));
    }
    return ok_status();
  }

  void show(int32_t layer, double share) {
    if (!report_) return;
    report_({layer, config_.num_layers, (layer + share) / config_.num_layers});
  }

  Status check_cancelled() const {
    if (options_.cancelled == nullptr || !options_.cancelled->load(std::memory_order_relaxed)) {
      return ok_status();
    }
    return Status(StatusCode::kCancelled, "interrupted while calibrating: nothing was written");
  }

  // Runs the layer and takes the statistics of its inputs.
  Status measure(int32_t layer) {
    const int64_t num_tokens = runner_->num_tokens();
    for (const LayerInput input : kInputs) {
      InputStatistics& statistics = statistics_[static_cast<size_t>(input)];
      statistics.squares.assign(static_cast<size_t>(layer_input_size(input, config_)), 0);
      statistics.num_tokens = num_tokens;
      statistics.num_samples = std::min(kSampleTokens, num_tokens);
      statistics.samples.resize(
          static_cast<size_t>(statistics.num_samples * statistics.num_inputs()));
    }
    return runner_->run_layer(layer, [&](LayerInput input, int64_t first, int64_t count,
                                         const float* rows, const float* residual_rms) {
      add(input, first, count, rows, residual_rms);
      return check_cancelled();
    });
  }

  void add(LayerInput input, int64_t first, int64_t count, const float* rows,
           const float* residual_rms) {
    InputStatistics& statistics = statistics_[static_cast<size_t>(input)];
    const int64_t num_inputs = statistics.num_inputs();
    const auto factor = [&](int64_t row) {
      return residual_rms == nullptr ? 1.0f : 1.0f / residual_rms[row];
    };
    // A channel's sum runs over the tokens in order.
    constexpr int64_t kColumns = 64;
    pool_.parallel_for((num_inputs + kColumns - 1) / kColumns, [&](int64_t part, int) {
      const int64_t end = std::min(num_inputs, (part + 1) * kColumns);
      for (int64_t row = 0; row < count; ++row) {
        for (int64_t i = part * kColumns; i < end; ++i) {
          const double value = double{rows[row * num_inputs + i]} * factor(row);
          statistics.squares[static_cast<size_t>(i)] += value * value;
        }
      }
    });
    for (int64_t sample = 0; sample < statistics.num_samples; ++sample) {
      const int64_t row = sample * statistics.num_tokens / statistics.num_samples - first;
      if (row < 0 || row >= count) continue;
      float* out = statistics.samples.data() + sample * num_inputs;
      for (int64_t i = 0; i < num_inputs; ++i) out[i] = rows[row * num_inputs + i] * factor(row);
    }
  }

  Result<InputScales> search(int32_t layer, LayerInput input) {
    std::vector<SearchedMatrix> matrices;
    for (const char* name : matrices_that_read(input)) {
      LayoutTensor tensor;
      tensor.name = fmt::format("model.layers.{}.{}", layer, name);
      tensor.cols = layer_input_size(input, config_);
      const TensorType type = mix_tensor_type(options_.mix, config_, tensor, false, options_.plain);
      // Rows that are no whole groups stay plain: nothing to gain.
      if (!is_int_group(type)) return InputScales();
      matrices.push_back({tensor.name, type});
    }
    DividedVector vector;
    vector.stored = options_.plain;
    if (const char* name = vector_that_makes(input)) {
      const std::string full = fmt::format("model.layers.{}.{}", layer, name);
      ASSIGN_OR_RETURN(const SourceTensor tensor, source_.tensor(full));
      vector.values.resize(static_cast<size_t>(tensor.cols));
      dequantize_row(tensor.type, tensor.bytes.data(), tensor.cols, vector.values.data());
      source_.release(tensor);
    }
    const InputStatistics& statistics = statistics_[static_cast<size_t>(input)];
    scales_.memory_bytes = std::max(
        scales_.memory_bytes,
        ScaleSearch::memory_bytes(statistics.num_inputs(), static_cast<int64_t>(matrices.size())) +
            statistics_bytes());
    ScaleSearch searcher(source_, options_.plain, *kernels_, pool_,
                         [this] { return check_cancelled(); });
    return searcher.search(matrices, statistics, shared_inputs(input, config_), vector);
  }

  int64_t statistics_bytes() const {
    int64_t bytes = 0;
    for (const InputStatistics& statistics : statistics_) {
      bytes += static_cast<int64_t>(statistics.samples.size() * sizeof(float) +
                                    statistics.squares.size() * sizeof(double));
    }
    return bytes;
  }

  const TensorSource& source_;
  const ModelConfig& config_;
  const CalibrateOptions& options_;
  const CalibrateProgressCallback& report_;
  ComputePool pool_;
  const Kernels* kernels_ = nullptr;
  std::unique_ptr<LayerRunner> runner_;
  std::array<InputStatistics, kNumLayerInputs> statistics_;
  ChannelScales scales_;
};

// Over all layers: the mean alpha, and the mean share of the error that is left.
struct InputSummary {
  double alpha = 0;
  double error = 0;
};

InputSummary summary_of(const ChannelScales& scales, LayerInput input) {
  InputSummary summary;
  for (const auto& layer : scales.layers) {
    const InputScales& one = layer[static_cast<size_t>(input)];
    summary.alpha += one.alpha;
    summary.error += one.factor.empty() ? 1 : one.error;
  }
  const auto count = static_cast<double>(scales.layers.size());
  return {summary.alpha / count, summary.error / count};
}

}  // namespace

Result<ChannelScales> calibrate_channels(const TensorSource& source,
                                         std::span<const TokenId> tokens,
                                         const CalibrateOptions& options,
                                         const CalibrateProgressCallback& progress) {
  if (options.mix != QuantMix::kW8 && options.mix != QuantMix::kW4 &&
      options.mix != QuantMix::kW4G32) {
    return invalid_argument(
        fmt::format("calibration is for types w8 and w4, found {}", quant_mix_name(options.mix)));
  }
  if (static_cast<int64_t>(tokens.size()) < kMinCalibrationTokens) {
    return invalid_argument(fmt::format("the calibration text has {} tokens, expected {} or more",
                                        tokens.size(), kMinCalibrationTokens));
  }
  for (const TokenId id : tokens) {
    if (id < 0 || id >= source.config().vocab_size) {
      return invalid_argument(fmt::format("token id {} lies outside the vocabulary of {}", id,
                                          source.config().vocab_size));
    }
  }
  return Calibrator(source, options, progress).run(tokens);
}

std::string calibration_text(const ChannelScales& scales) {
  std::string out =
      fmt::format("calibrated on {} tokens in {:.1f} s with {:.0f} MB at most\n", scales.num_tokens,
                  scales.seconds, static_cast<double>(scales.memory_bytes) * 1e-6);
  for (const LayerInput input : kInputs) {
    const InputSummary summary = summary_of(scales, input);
    out += fmt::format(
        "  inputs of {:<8} mean alpha {:.2f}, squared output error {:.1f} % of that "
        "without scaling\n",
        layer_input_name(input), summary.alpha, 100 * summary.error);
  }
  return out;
}

std::string calibration_json(const ChannelScales& scales) {
  std::string inputs;
  for (const LayerInput input : kInputs) {
    const InputSummary summary = summary_of(scales, input);
    inputs += fmt::format("{}{{\"inputs\":\"{}\",\"mean_alpha\":", inputs.empty() ? "" : ",",
                          layer_input_name(input));
    append_json_number(inputs, summary.alpha);
    inputs += ",\"error_share\":";
    append_json_number(inputs, summary.error);
    inputs += "}";
  }
  std::string out = fmt::format(
      "{{\"tokens\":{},\"memory_bytes\":{},\"seconds\":", scales.num_tokens, scales.memory_bytes);
  append_json_number(out, scales.seconds);
  return out + ",\"inputs\":[" + inputs + "]}";
}

}  // namespace sparrow
