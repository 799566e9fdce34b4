// The executor alone in the shapes of DeepSeek-R1-Distill-Qwen-1.5B with arbitrary weights: speed
// does not depend on what they say. Counters: tokens/s and the GB/s of weights and KV that a decode
// step must read. About 2 GB for Q8_0.
//
//   build/release/src/model/model_cpu_executor_bench --benchmark_filter=q8_0
//
// `sparrow bench` measures the same with real files and the machine's bandwidth beside it.
#include <benchmark/benchmark.h>

#include <cstring>

#include "base/random.h"
#include "model/cpu_executor.h"
#include "model/executor_driver.h"
#include "model/files/tensor_layout.h"
#include "model/tensor_source.h"

namespace sparrow {
namespace {

ModelConfig r1_config() {
  ModelConfig config;
  config.hidden_size = 1536;
  config.intermediate_size = 8960;
  config.num_layers = 28;
  config.num_heads = 12;
  config.num_kv_heads = 2;
  config.head_dim = 128;
  config.vocab_size = 151936;
  config.max_position = 131072;
  return config;
}

// Every tensor is the beginning of one buffer of random blocks: packing copies it.
class ShapedWeights : public TensorSource {
 public:
  ShapedWeights(const ModelConfig& config, TensorType type) : config_(config), type_(type) {
    size_t largest = 0;
    for (const LayoutTensor& tensor : qwen2_tensor_layout(config)) {
      const TensorType stored = tensor.is_vector ? TensorType::kF32 : type;
      const size_t size = tensor_row_bytes(stored, tensor.cols) * static_cast<size_t>(tensor.rows);
      layout_.emplace(tensor.name, tensor);
      largest = std::max(largest, size);
    }
    bytes_.resize(largest + 8);
    for (size_t i = 0; i < largest; i += 8) {
      // Exponents near zero: finite as any of the formats, scales and values stay small.
      const uint64_t bits = random_bits(1, 2, i) & 0x3bff3bff3bff3bffu;
      std::memcpy(bytes_.data() + i, &bits, 8);
    }
    ones_.assign(static_cast<size_t>(config.intermediate_size), 1.0f);
  }
  const ModelConfig& config() const override { return config_; }
  bool contains(std::string_view name) const override {
    return layout_.contains(std::string(name));
  }
  Result<SourceTensor> tensor(std::string_view name) const override {
    const LayoutTensor& layout = layout_.at(std::string(name));
    if (layout.is_vector) {
      const std::span<const float> ones(ones_.data(), static_cast<size_t>(layout.cols));
      return SourceTensor{TensorType::kF32, 1, layout.cols, std::as_bytes(ones)};
    }
    const size_t size = tensor_row_bytes(type_, layout.cols) * static_cast<size_t>(layout.rows);
    return SourceTensor{type_, layout.rows, layout.cols, {bytes_.data(), size}};
  }
  void release(const SourceTensor&) const override {}
  std::string format_name() const override { return tensor_type_info(type_).name; }

 private:
  const ModelConfig config_;
  const TensorType type_;
  std::map<std::string, LayoutTensor> layout_;
  std::vector<std::byte> bytes_;
  std::vector<float> ones_;
};

// One executor at a time: a second model would not fit beside it.
CpuExecutor& executor_of(TensorType type) {
  static std::unique_ptr<CpuExecutor> executor;
  static TensorType loaded = TensorType::kF32;
  if (executor == nullptr || loaded != type) {
    executor.reset();
    CpuExecutorOptions options;
    options.num_slots = 16;
    options.kv_cache_bytes = int64_t{512} << 20;
    executor = make_cpu_executor(r1_config(), options).value();
    ShapedWeights weights(r1_config(), type);
    CHECK(executor->load(weights).ok());
    loaded = type;
  }
  return *executor;
}

void decode(benchmark::State& state, TensorType type, int batch, int context) {
  CpuExecutor& executor = executor_of(type);
  ExecutorDriver driver(executor);
  std::vector<ExecutorDriver::Part> prompts, steps;
  for (int i = 0; i < batch; ++i) {
    const int sequence = driver.add(std::vector<TokenId>(static_cast<size_t>(context), 100 + i));
    for (int done = 0; done < context; done += 256) {
      const int count = std::min(256, context - done);
      driver.step({{sequence, count, done + count == context ? 1 : 0}});
    }
    steps.push_back({sequence, 1, 1});
  }
  for (auto _ : state) driver.step(steps);
  const double bytes = static_cast<double>(executor.weights_bytes_per_token()) +
                       static_cast<double>(executor.kv_bytes_per_token()) * batch * context;
  using benchmark::Counter;
  state.counters["tokens/s"] = Counter(batch, Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] = Counter(bytes / 1e9, Counter::kIsIterationInvariantRate);
  state.SetLabel(executor.isa());
}

void prefill(benchmark::State& state, TensorType type, int num_tokens) {
  CpuExecutor& executor = executor_of(type);
  for (auto _ : state) {
    ExecutorDriver driver(executor);
    const int sequence = driver.add(std::vector<TokenId>(static_cast<size_t>(num_tokens), 100));
    driver.step({{sequence, num_tokens, 1}});
  }
  state.counters["tokens/s"] =
      benchmark::Counter(num_tokens, benchmark::Counter::kIsIterationInvariantRate);
  state.SetLabel(executor.isa());
}

void register_type(TensorType type) {
  const std::string name = tensor_type_info(type).name;
  const auto add = [](const std::string& title, auto body) {
    benchmark::RegisterBenchmark(title.c_str(), body)->UseRealTime()->Unit(benchmark::kMillisecond);
  };
  for (const int batch : {1, 4, 8, 16}) {
    add(name + "/decode/batch:" + std::to_string(batch),
        [=](benchmark::State& state) { decode(state, type, batch, 32); });
  }
  add(name + "/decode/context:2048",
      [=](benchmark::State& state) { decode(state, type, 1, 2048); });
  add(name + "/prefill/128", [=](benchmark::State& state) { prefill(state, type, 128); });
}

}  // namespace
}  // namespace sparrow

int main(int argc, char** argv) {
  using sparrow::TensorType;
  for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kQ4_K,
                                TensorType::kQ6_K, TensorType::kI4G128, TensorType::kBF16}) {
    sparrow::register_type(type);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
