// Time to sample one row of the real vocabulary (151,936 logits, normal with spread 3).

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "kernels/cpu_features.h"
#include "sampling/sampler.h"

namespace sparrow {
namespace {

constexpr int32_t kVocab = 151936;

std::vector<float> make_logits() {
  std::vector<float> logits(kVocab);
  for (uint64_t i = 0; i < kVocab; ++i) {
    double sum = -6;
    for (uint64_t term = 0; term < 12; ++term) sum += random_uniform(1, i, term);
    logits[i] = static_cast<float>(3 * sum);
  }
  return logits;
}

void run(benchmark::State& state, const SamplingParams& params) {
  static const std::vector<float> source = make_logits();
  const Kernels* kernels = runnable_kernels().back();
  const Sampler sampler(*kernels, kVocab, {});
  SamplerState sampler_state;
  sampler_state.start({.slot = 0,
                       .params = &params,
                       .tokens = {},
                       .num_prompt_tokens = 0,
                       .banned_early = {},
                       .min_tokens = 0});
  Sampler::Scratch scratch;
  std::vector<TokenLogprob> top;
  std::vector<float> logits = source;
  int64_t position = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(sampler.sample({logits, position++, {}}, sampler_state, scratch, top));
  }
  state.SetLabel(kernels->name);
}

void greedy(benchmark::State& state) { run(state, {.temperature = 0}); }
void plain(benchmark::State& state) { run(state, {.temperature = 0.6}); }
void top_p(benchmark::State& state) { run(state, {.temperature = 0.6, .top_p = 0.95}); }
void top_k_top_p(benchmark::State& state) {
  run(state, {.temperature = 0.6, .top_k = 50, .top_p = 0.95});
}
void logprobs(benchmark::State& state) { run(state, {.temperature = 0, .num_top_logprobs = 20}); }

BENCHMARK(greedy)->Unit(benchmark::kMicrosecond);
BENCHMARK(plain)->Unit(benchmark::kMicrosecond);
BENCHMARK(top_p)->Unit(benchmark::kMicrosecond);
BENCHMARK(top_k_top_p)->Unit(benchmark::kMicrosecond);
BENCHMARK(logprobs)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sparrow

BENCHMARK_MAIN();
