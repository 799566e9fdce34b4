// Speed of the kernels that work on rows, with one thread, by instruction set (the last argument is
// an index into runnable_kernels()). Sizes are those of R1-1.5B; rows come from the cache, as they
// do in a step.

#include <benchmark/benchmark.h>

#include <vector>

#include "kernels/cpu_features.h"
#include "kernels/kernels.h"

namespace sparrow {
namespace {

constexpr int64_t kHidden = 1536, kFfn = 8960, kVocab = 151936;
constexpr int32_t kHeadDim = 128, kNumHeads = 12;

const Kernels& table(benchmark::State& state) {
  const Kernels& kernels = *runnable_kernels()[static_cast<size_t>(state.range(0))];
  state.SetLabel(kernels.name);
  return kernels;
}

std::vector<float> values(int64_t count, float step = 0.001f) {
  std::vector<float> out(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(i % 2000) * step - 1.0f;
  return out;
}

void count_values(benchmark::State& state, int64_t count) {
  state.SetItemsProcessed(state.iterations() * count);
}

void quantize(benchmark::State& state) {
  const Kernels& kernels = table(state);
  const std::vector<float> x = values(kFfn);
  std::vector<int8_t> quantized(static_cast<size_t>(kFfn));
  std::vector<int32_t> sums(static_cast<size_t>(kFfn / 32)), halves(static_cast<size_t>(kFfn / 16));
  float scale = 0;
  const QuantizeArgs args{x.data(), kFfn,   1,           kFfn,      quantized.data(),
                          kFfn,     &scale, sums.data(), kFfn / 32, halves.data()};
  for (auto _ : state) kernels.quantize(args);
  count_values(state, kFfn);
}

void rms_norm(benchmark::State& state) {
  const Kernels& kernels = table(state);
  const std::vector<float> x = values(kHidden), weight = values(kHidden);
  std::vector<float> out(static_cast<size_t>(kHidden));
  for (auto _ : state) kernels.rms_norm(x.data(), weight.data(), kHidden, 1e-6f, out.data());
  count_values(state, kHidden);
}

void rope(benchmark::State& state) {
  const Kernels& kernels = table(state);
  std::vector<float> heads = values(kNumHeads * kHeadDim);
  const std::vector<float> cosines(kHeadDim / 2, 0.6f), sines(kHeadDim / 2, 0.8f);
  for (auto _ : state) {
    kernels.rope(heads.data(), kHeadDim, kNumHeads, kHeadDim, cosines.data(), sines.data());
  }
  count_values(state, kNumHeads * kHeadDim);
}

void silu_mul(benchmark::State& state) {
  const Kernels& kernels = table(state);
  const std::vector<float> gate = values(kFfn), up = values(kFfn);
  std::vector<float> out(static_cast<size_t>(kFfn));
  for (auto _ : state) kernels.silu_mul(gate.data(), up.data(), kFfn, out.data());
  count_values(state, kFfn);
}

void add(benchmark::State& state) {
  const Kernels& kernels = table(state);
  std::vector<float> sum = values(kHidden);
  const std::vector<float> x = values(kHidden, 1e-6f);
  for (auto _ : state) kernels.add(sum.data(), x.data(), kHidden);
  count_values(state, kHidden);
}

// The pass of a sampler over all logits. Its input is written anew each time, as by the head.
void exp_sum(benchmark::State& state) {
  const Kernels& kernels = table(state);
  const std::vector<float> logits = values(kVocab, 0.01f);
  std::vector<float> x(logits.size());
  for (auto _ : state) {
    x = logits;
    benchmark::DoNotOptimize(kernels.exp_sum(x.data(), kVocab, 19.0f));
  }
  count_values(state, kVocab);
}

void kv_store(benchmark::State& state) {
  const Kernels& kernels = table(state);
  const auto type = static_cast<KvType>(state.range(1));
  const std::vector<float> k = values(kHeadDim), v = values(kHeadDim);
  std::vector<uint8_t> block(static_cast<size_t>(kv_head_block_bytes(kHeadDim, type)));
  int32_t slot = 0;
  for (auto _ : state) {
    kernels.kv_store({k.data(), v.data(), block.data(), slot, kHeadDim, type});
    slot = (slot + 1) % 16;
  }
  count_values(state, 2 * kHeadDim);
}

// One chunk of 256 tokens for the six heads that share a KV head.
void attention_chunk(benchmark::State& state) {
  const Kernels& kernels = table(state);
  const auto type = static_cast<KvType>(state.range(1));
  const int64_t stride = kv_head_block_bytes(kHeadDim, type);
  const std::vector<float> q = values(6 * kHeadDim);
  std::vector<uint8_t> cache(static_cast<size_t>(16 * stride));
  for (int32_t token = 0; token < 256; ++token) {
    kernels.kv_store(
        {q.data(), q.data(), cache.data() + token / 16 * stride, token % 16, kHeadDim, type});
  }
  std::vector<int32_t> ids(16);
  for (int32_t i = 0; i < 16; ++i) ids[static_cast<size_t>(i)] = i;
  std::vector<float> partials(static_cast<size_t>(6 * attention_partial_floats(kHeadDim)));
  AttentionArgs args;
  args.q = q.data();
  args.q_stride = args.head_dim = kHeadDim;
  args.num_heads = 6;
  args.scale = 0.088f;
  args.cache = cache.data();
  args.block_stride = stride;
  args.block_ids = ids.data();
  args.num_tokens = 256;
  args.type = type;
  args.partials = partials.data();
  args.partial_stride = attention_partial_floats(kHeadDim);
  for (auto _ : state) kernels.attention_chunk(args);
  count_values(state, int64_t{2} * 6 * 256 * kHeadDim);
}

void each_table(benchmark::internal::Benchmark* bench) {
  for (size_t i = 0; i < runnable_kernels().size(); ++i) bench->Arg(static_cast<int64_t>(i));
}

void each_table_and_kv_type(benchmark::internal::Benchmark* bench) {
  for (size_t i = 0; i < runnable_kernels().size(); ++i) {
    for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8}) {
      bench->Args({static_cast<int64_t>(i), static_cast<int64_t>(type)});
    }
  }
}

BENCHMARK(quantize)->Apply(each_table);
BENCHMARK(rms_norm)->Apply(each_table);
BENCHMARK(rope)->Apply(each_table);
BENCHMARK(silu_mul)->Apply(each_table);
BENCHMARK(add)->Apply(each_table);
BENCHMARK(exp_sum)->Apply(each_table)->Unit(benchmark::kMicrosecond);
BENCHMARK(kv_store)->Apply(each_table_and_kv_type);
BENCHMARK(attention_chunk)->Apply(each_table_and_kv_type)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sparrow

BENCHMARK_MAIN();
