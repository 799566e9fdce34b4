#include "tools/quantize/calibrate_channels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/file.h"
#include "base/random.h"
#include "model/generated_weights.h"
#include "model/golden_file.h"
#include "model/model_files.h"
#include "model/reference_forward.h"
#include "quant/convert_row.h"
#include "tests/support/test_data.h"
#include "tools/quantize/layer_runner.h"
#include "tools/quantize/quantize_model.h"

namespace sparrow {
namespace {

// Two KV heads of three query heads each: a factor of o belongs to three inputs.
ModelConfig small_config() {
  ModelConfig config;
  config.hidden_size = 96;
  config.intermediate_size = 128;
  config.num_layers = 2;
  config.num_heads = 6;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 320;
  config.max_position = 512;
  return config;
}

// Random weights, some channels of which are kOutlier times as active as the rest, in the way of
// trained models: the matrices that read them are no smaller for it.
class OutlierWeights : public GeneratedWeights {
 public:
  static constexpr float kOutlier = 50;

  explicit OutlierWeights(const ModelConfig& config) : GeneratedWeights(config, 7) {}

  Result<SourceTensor> tensor(std::string_view name) const override {
    ASSIGN_OR_RETURN(SourceTensor tensor, GeneratedWeights::tensor(name));
    std::vector<std::byte>& copy = copies_[std::string(name)];
    copy.assign(tensor.bytes.begin(), tensor.bytes.end());
    tensor.bytes = copy;
    auto* values = reinterpret_cast<float*>(copy.data());
    for (int64_t row = 0; row < tensor.rows; ++row) {
      for (int64_t col = 0; col < tensor.cols; ++col) {
        values[row * tensor.cols + col] *= factor(name, row, col);
      }
    }
    return tensor;
  }
  Result<SourceTensor> describe(std::string_view name) const override { return tensor(name); }

 private:
  static float factor(std::string_view name, int64_t row, int64_t col) {
    // Every 31st: 4 of 128 channels, spread over the groups.
    if (name.ends_with("post_attention_layernorm.weight") && col % 31 == 5) return kOutlier;
    // The gates stay what they were: else they only open or close.
    if (name.ends_with("gate_proj.weight") && col % 31 == 5) return 1 / kOutlier;
    if (name.ends_with("up_proj.weight") && row % 31 == 9) return kOutlier;
    if (name.ends_with("v_proj.weight") && row % 15 == 3) return kOutlier;
    if (name.ends_with("v_proj.bias") && col % 15 == 3) return kOutlier;
    return 1;
  }

  mutable std::map<std::string, std::vector<std::byte>> copies_;
};

std::vector<TokenId> random_tokens(int64_t count, uint64_t seed) {
  std::vector<TokenId> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<TokenId>(random_bits(seed, 2, static_cast<uint64_t>(i)) % 320));
  }
  return tokens;
}

class CalibrateChannelsTest : public testing::Test {
 protected:
  CalibrateChannelsTest() {
    source_.config = small_config();
    source_.path = "generated";
    source_.weights = std::make_unique<OutlierWeights>(source_.config);
  }

  Result<ChannelScales> calibrate(QuantMix mix, int num_threads = 2) const {
    CalibrateOptions options;
    options.mix = mix;
    options.num_threads = num_threads;
    options.window_tokens = 100;  // the last one is shorter
    return calibrate_channels(*source_.weights, random_tokens(kMinCalibrationTokens, 1), options,
                              nullptr);
  }

  // The same for all tests.
  const ChannelScales& calibrated(QuantMix mix) const {
    static std::map<QuantMix, ChannelScales> made;
    if (!made.contains(mix)) {
      const Result<ChannelScales> scales = calibrate(mix);
      EXPECT_TRUE(scales.ok()) << scales.message();
      made[mix] = *scales;
    }
    return made[mix];
  }

  std::string quantize(QuantMix mix, const ChannelScales* scales, const std::string& name) {
    QuantizeOptions options;
    options.mix = mix;
    options.out_path = temporary_.path(name);
    options.channel_scales = scales;
    options.num_threads = 2;
    const Result<QuantizeReport> report = quantize_model(source_, options, nullptr);
    EXPECT_TRUE(report.ok()) << report.message();
    return options.out_path;
  }

  // Of layer 0 for a text that calibration has not seen: [64][inputs].
  std::vector<double> inputs_of(LayerInput wanted) const {
    ComputePool pool(1);
    const auto runner = LayerRunner::create(*source_.weights, random_tokens(64, 99), 64, pool);
    EXPECT_TRUE(runner.ok()) << runner.message();
    std::vector<double> inputs;
    const Status status = (*runner)->run_layer(
        0, [&](LayerInput input, int64_t, int64_t count, const float* rows, const float*) {
          if (input == wanted) {
            inputs.assign(rows, rows + count * layer_input_size(input, source_.config));
          }
          return ok_status();
        });
    EXPECT_TRUE(status.ok()) << status.message();
    return inputs;
  }

  // (W (x / factor)) * output factor, every x rounded to 127 steps of its largest value if `rounds`
  static std::vector<double> products(const TensorSource& weights, const std::string& name,
                                      const std::vector<double>& inputs,
                                      const std::vector<float>& factor,
                                      const std::vector<float>& outputs, bool rounds) {
    const SourceTensor tensor = weights.tensor(name).value();
    const auto cols = static_cast<size_t>(tensor.cols);
    std::vector<float> row(cols);
    std::vector<double> out;
    for (int64_t r = 0; r < tensor.rows; ++r) {
      dequantize_row(tensor.type, tensor.bytes.data() + static_cast<size_t>(r) * tensor.row_bytes(),
                     tensor.cols, row.data());
      for (size_t begin = 0; begin < inputs.size(); begin += cols) {
        double largest = 0, sum = 0;
        for (size_t i = 0; i < cols; ++i) {
          largest = std::max(largest, std::fabs(inputs[begin + i] / factor[i]));
        }
        for (size_t i = 0; i < cols; ++i) {
          double x = inputs[begin + i] / factor[i];
          if (rounds) x = std::nearbyint(x * 127 / largest) * largest / 127;
          sum += row[i] * x;
        }
        out.push_back(sum * (outputs.empty() ? 1 : outputs[static_cast<size_t>(r)]));
      }
    }
    return out;
  }

  static double distance(const std::vector<double>& a, const std::vector<double>& b) {
    double squares = 0;
    for (size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
    return std::sqrt(squares);
  }

  ModelFiles source_;
  TemporaryDirectory temporary_;
};

// The inputs of a layer's q, k and v are the model's own logits if it ends there, with that layer's
// norm as the last one and a head that changes nothing: the oracle needs no second forward pass.
TEST_F(CalibrateChannelsTest, InputsOfLayers_AreThoseOfTheReference) {
  const GeneratedWeights weights(small_config(), 5);
  const std::vector<TokenId> tokens = random_tokens(150, 3);
  constexpr int64_t kWindow = 60;
  ComputePool pool(2);
  const auto runner = LayerRunner::create(weights, tokens, kWindow, pool);
  ASSERT_TRUE(runner.ok()) << runner.message();
  const ReferenceModel reference = load_reference_model(weights).value();
  const size_t hidden = 96;
  for (int32_t layer = 0; layer < 2; ++layer) {
    std::vector<float> found;
    const Status status =
        (*runner)->run_layer(layer, [&](LayerInput input, int64_t first, int64_t count,
                                        const float* rows, const float* residual_rms) {
          EXPECT_EQ(residual_rms != nullptr, input == LayerInput::kO || input == LayerInput::kDown);
          if (input == LayerInput::kQkv) {
            EXPECT_EQ(found.size(), static_cast<size_t>(first) * hidden);
            found.insert(found.end(), rows, rows + static_cast<size_t>(count) * hidden);
          }
          return ok_status();
        });
    ASSERT_TRUE(status.ok()) << status.message();
    ReferenceModel cut = reference;
    cut.layers.resize(static_cast<size_t>(layer));
    cut.final_norm = reference.layers[static_cast<size_t>(layer)].attention_norm;
    cut.lm_head.assign(hidden * hidden, 0.0f);
    for (size_t i = 0; i < hidden; ++i) cut.lm_head[i * hidden + i] = 1;
    std::vector<float> expected;
    for (size_t begin = 0; begin < tokens.size(); begin += kWindow) {
      const std::span part(tokens.data() + begin, std::min<size_t>(kWindow, tokens.size() - begin));
      std::vector<int32_t> rows(part.size());
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int32_t>(i);
      const std::vector<float> window = reference_forward(cut, part, rows);
      expected.insert(expected.end(), window.begin(), window.end());
    }
    EXPECT_LT(relative_l2(found, expected), 1e-5) << layer;  // fp32 against fp64
  }
}

TEST_F(CalibrateChannelsTest, Folding_ChangesNoOutput) {
  for (const QuantMix mix : {QuantMix::kW8, QuantMix::kW4G32}) {
    const ChannelScales& scales = calibrated(mix);
    for (const auto& layer : scales.layers) {
      for (const InputScales& input : layer) EXPECT_EQ(input.factor.empty(), false);
    }
    const std::string folded = quantize(QuantMix::kF32, &scales, quant_mix_name(mix));
    const Result<ModelFiles> result = open_model(folded);
    ASSERT_TRUE(result.ok()) << result.message();
    const std::vector<TokenId> tokens = random_tokens(40, 8);
    const std::vector<int32_t> rows = {0, 7, 39};
    const auto logits = [&](const TensorSource& weights) {
      return reference_forward(load_reference_model(weights).value(), tokens, rows);
    };
    // Each value is rounded to fp32 once or twice on its way: 2^-24 each, over two layers.
    EXPECT_LT(relative_l2(logits(*result->weights), logits(*source_.weights)), 2e-6);
  }
}

TEST_F(CalibrateChannelsTest, NormsAndBiases_LoseNothingInTheFilesType) {
  const ChannelScales& scales = calibrated(QuantMix::kW4G32);
  for (int32_t layer = 0; layer < 2; ++layer) {
    for (const char* part :
         {"input_layernorm.weight", "post_attention_layernorm.weight", "self_attn.v_proj.bias"}) {
      const std::string name = "model.layers." + std::to_string(layer) + "." + part;
      const SourceTensor tensor = source_.weights->tensor(name).value();
      std::vector<float> values(static_cast<size_t>(tensor.cols));
      dequantize_row(tensor.type, tensor.bytes.data(), tensor.cols, values.data());
      TensorFold(&scales, source_.config, name).apply(0, values);
      for (const float value : values) {
        std::byte bytes[2];
        float stored;
        quantize_row(TensorType::kBF16, &value, 1, bytes);
        dequantize_row(TensorType::kBF16, bytes, 1, &stored);
        EXPECT_NEAR(value, stored, 1.2e-7f * std::fabs(stored)) << name;  // two fp32 divisions
      }
    }
  }
}

// The products of a layer's matrices as the files hold them, in double, on inputs of a text that
// calibration has not seen; w8 with inputs rounded to int8.
TEST_F(CalibrateChannelsTest, OutlierChannels_ErrorFallsToLessThanHalf) {
  for (const QuantMix mix : {QuantMix::kW8, QuantMix::kW4G32}) {
    const ChannelScales& scales = calibrated(mix);
    const std::string name = quant_mix_name(mix);
    const Result<ModelFiles> plain = open_model(quantize(mix, nullptr, name + "-plain"));
    const Result<ModelFiles> scaled = open_model(quantize(mix, &scales, name + "-scaled"));
    ASSERT_TRUE(plain.ok() && scaled.ok());
    for (const auto& [input, part] : {std::pair{LayerInput::kO, "self_attn.o_proj.weight"},
                                      std::pair{LayerInput::kGateUp, "mlp.up_proj.weight"},
                                      std::pair{LayerInput::kDown, "mlp.down_proj.weight"}}) {
      SCOPED_TRACE(name + " " + part);
      const std::vector<double> inputs = inputs_of(input);
      const std::string tensor = std::string("model.layers.0.") + part;
      const std::vector<float> factor = scales.of(0, input).factor;
      // What up makes is divided by the factors of down.
      std::vector<float> outputs;
      if (input == LayerInput::kGateUp) outputs = scales.of(0, LayerInput::kDown).factor;
      const std::vector<float> ones(factor.size(), 1.0f);
      const bool rounds = mix == QuantMix::kW8;
      const auto expected = products(*source_.weights, tensor, inputs, ones, {}, false);
      const auto before = products(*plain->weights, tensor, inputs, ones, {}, rounds);
      const auto after = products(*scaled->weights, tensor, inputs, factor, outputs, rounds);
      EXPECT_LT(distance(after, expected), 0.5 * distance(before, expected));
    }
  }
}

TEST_F(CalibrateChannelsTest, AnyNumberOfThreads_SameFiles) {
  const ChannelScales& two = calibrated(QuantMix::kW4G32);
  const Result<ChannelScales> three = calibrate(QuantMix::kW4G32, 3);
  ASSERT_TRUE(three.ok());
  const std::string a = quantize(QuantMix::kW4G32, &two, "a") + "/model.safetensors";
  const std::string b = quantize(QuantMix::kW4G32, &*three, "b") + "/model.safetensors";
  EXPECT_EQ(read_file(a, 64u << 20).value(), read_file(b, 64u << 20).value());
}

TEST_F(CalibrateChannelsTest, RowsThatAreNoWholeGroups_StayAsTheyAre) {
  // 96 inputs are no multiple of 128, 128 are: only down is quantized, and scaled.
  const Result<ChannelScales> scales = calibrate(QuantMix::kW4);
  ASSERT_TRUE(scales.ok()) << scales.message();
  for (int32_t layer = 0; layer < 2; ++layer) {
    EXPECT_TRUE(scales->of(layer, LayerInput::kQkv).factor.empty());
    EXPECT_TRUE(scales->of(layer, LayerInput::kO).factor.empty());
    EXPECT_TRUE(scales->of(layer, LayerInput::kGateUp).factor.empty());
    EXPECT_EQ(scales->of(layer, LayerInput::kDown).factor.size(), 128u);
  }
}

TEST_F(CalibrateChannelsTest, WhatCannotBeDone_IsSaid) {
  CalibrateOptions options;
  const auto failure = [&](const std::vector<TokenId>& tokens) {
    const auto scales = calibrate_channels(*source_.weights, tokens, options, nullptr);
    return scales.ok() ? std::string() : scales.message();
  };
  EXPECT_NE(failure(random_tokens(20, 1)).find("20 tokens"), std::string::npos);
  EXPECT_NE(failure(std::vector<TokenId>(300, 320)).find("320"), std::string::npos);
  options.mix = QuantMix::kQ4_0;
  EXPECT_NE(failure(random_tokens(300, 1)).find("q4_0"), std::string::npos);
}

TEST_F(CalibrateChannelsTest, Cancel_EndsIt) {
  std::atomic<bool> cancelled{false};
  CalibrateOptions options;
  options.mix = QuantMix::kW8;
  options.cancelled = &cancelled;
  double share = 0;
  const auto scales = calibrate_channels(*source_.weights, random_tokens(300, 1), options,
                                         [&](const CalibrateProgress& now) {
                                           EXPECT_GE(now.share, share);
                                           share = now.share;
                                           if (now.share > 0.3) cancelled = true;
                                         });
  ASSERT_FALSE(scales.ok());
  EXPECT_EQ(scales.status().code(), StatusCode::kCancelled);
  EXPECT_LT(share, 1);
}

}  // namespace
}  // namespace sparrow
