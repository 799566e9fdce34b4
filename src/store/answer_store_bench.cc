// A found and a missing answer among 50,000 of 2 KiB each (100 MiB), and storing one.

#include <benchmark/benchmark.h>

#include "store/test_support.h"

namespace sparrow {
namespace {

constexpr int64_t kNow = 1'700'000'000;
constexpr uint64_t kNumAnswers = 50'000;

AnswerStore& filled_store() {
  static TestDirectory directory;
  static AnswerStore store({.path = directory.file("answers.db")});
  static const bool filled = [] {
    for (uint64_t number = 0; number < kNumAnswers; ++number) {
      store.put(test_entry(number, "a", 2000), kNow);
    }
    return true;
  }();
  benchmark::DoNotOptimize(filled);
  return store;
}

void find_hit(benchmark::State& state) {
  AnswerStore& store = filled_store();
  uint64_t i = 0;
  for (auto unused : state) {
    const auto value = store.find(test_key(random_bits(1, 2, ++i) % kNumAnswers), kNow);
    if (!value) state.SkipWithError("not found");
  }
}
BENCHMARK(find_hit)->Unit(benchmark::kMicrosecond);

void find_miss(benchmark::State& state) {
  AnswerStore& store = filled_store();
  uint64_t i = 0;
  for (auto unused : state) {
    benchmark::DoNotOptimize(store.find(test_key(kNumAnswers + ++i), kNow));
  }
}
BENCHMARK(find_miss)->Unit(benchmark::kMicrosecond);

void put(benchmark::State& state) {
  AnswerStore& store = filled_store();
  uint64_t i = 2 * kNumAnswers;
  for (auto unused : state) store.put(test_entry(++i, "a", 2000), kNow);
}
BENCHMARK(put)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sparrow

BENCHMARK_MAIN();
