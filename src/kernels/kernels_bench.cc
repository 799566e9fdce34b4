// Speed of products and attention with all threads of the machine (SPARROW_FORCE_ISA is not read:
// the best table runs). Decode shapes show GB/s beside the read probe; the matrices of one run are
// larger than the last-level cache, so weights come from memory. Prompt shapes show GOPS (one
// multiply-add is two operations) beside the int8 peak.

#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "base/compute_pool.h"
#include "kernels/cpu_features.h"
#include "kernels/packed_matrix.h"
#include "quant/random_blocks.h"

namespace sparrow {
namespace {

ComputePool& pool() {
  static ComputePool instance(0);
  return instance;
}

const Kernels& best_kernels() { return *runnable_kernels().back(); }

PackedMatrix random_matrix(WeightFormat format, int64_t rows, int64_t cols) {
  PackedMatrix matrix = *PackedMatrix::allocate(format, rows, cols);
  const TensorType type = tensor_type_for(format);
  // The same 256 random rows again and again: making them must not take longer than the run.
  constexpr int64_t kRows = 256;
  std::vector<std::byte> bytes = random_block_rows(type, kRows, cols, 1, 0.01f);
  if (format == WeightFormat::kI8Row) set_all_scales(type, bytes, 0.01f);
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t count = std::min(kRows, rows - row);
    const std::span<const std::byte> part(bytes.data(), tensor_row_bytes(type, cols) * count);
    CHECK(matrix.pack_rows(row, count, type, part).ok());
  }
  return matrix;
}

struct Inputs {
  std::vector<float> plain, scales;
  std::vector<int8_t> quantized;
  std::vector<int32_t> sums, half_sums;
  ActivationsView view;

  Inputs(int64_t tokens, int64_t cols)
      : plain(tokens * cols),
        scales(tokens),
        quantized(tokens * cols),
        sums(tokens * cols / 32),
        half_sums(tokens * cols / 16) {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    for (float& x : plain) x = normal(random);
    best_kernels().quantize(QuantizeArgs{plain.data(), cols, tokens, cols, quantized.data(), cols,
                                         scales.data(), sums.data(), cols / 32, half_sums.data()});
    view = {tokens,        plain.data(), cols,      quantized.data(), cols,
            scales.data(), sums.data(),  cols / 32, half_sums.data()};
  }
};

void run_product(const PackedMatrix& matrix, const Inputs& inputs, std::vector<float>& out) {
  pool().parallel_for(matrix.num_strips(), [&](int64_t strip, int) {
    GemmArgs args;
    args.weights = matrix.view();
    args.inputs = inputs.view;
    args.strip_begin = strip;
    args.strip_end = strip + 1;
    args.out = out.data();
    args.out_stride = matrix.rows();
    best_kernels().gemm(args);
  });
}

// format, rows, cols, tokens, copies of the matrix used in turn
void gemm(benchmark::State& state) {
  const auto format = static_cast<WeightFormat>(state.range(0));
  const int64_t rows = state.range(1), cols = state.range(2), tokens = state.range(3);
  std::vector<PackedMatrix> matrices;
  for (int64_t i = 0; i < state.range(4); ++i) {
    matrices.push_back(random_matrix(format, rows, cols));
  }
  const Inputs inputs(tokens, cols);
  std::vector<float> out(static_cast<size_t>(tokens * rows));
  size_t next = 0;
  for (auto _ : state) {
    run_product(matrices[next], inputs, out);
    next = (next + 1) % matrices.size();
  }
  const auto runs = static_cast<double>(state.iterations());
  state.SetLabel(std::string(best_kernels().name) + " " + weight_format_name(format));
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(matrices[0].bytes()) * runs / 1e9,
                                              benchmark::Counter::kIsRate);
  state.counters["GOPS"] = benchmark::Counter(
      2e-9 * static_cast<double>(rows * cols * tokens) * runs, benchmark::Counter::kIsRate);
}

void decode_shapes(benchmark::internal::Benchmark* bench) {
  for (const WeightFormat format :
       {WeightFormat::kQ8_0, WeightFormat::kQ4_0, WeightFormat::kBF16, WeightFormat::kF32,
        WeightFormat::kQ4_1, WeightFormat::kQ5_1, WeightFormat::kQ2_K, WeightFormat::kQ3_K,
        WeightFormat::kQ4_K, WeightFormat::kQ5_K, WeightFormat::kQ6_K, WeightFormat::kI4G32,
        WeightFormat::kI4G128, WeightFormat::kI8G128, WeightFormat::kI8Row}) {
    const auto id = static_cast<int64_t>(format);
    bench->Args({id, 1536, 1536, 1, 64});
    bench->Args({id, 8960, 1536, 1, 12});
    bench->Args({id, 1536, 8960, 1, 12});
    bench->Args({id, 151936, 1536, 1, 1});
    for (const int64_t tokens : {2, 4, 8, 12, 64, 256}) bench->Args({id, 8960, 1536, tokens, 12});
  }
}
BENCHMARK(gemm)->Apply(decode_shapes)->UseRealTime()->MinTime(0.2)->Unit(benchmark::kMicrosecond);

// Every batch from one to thirty-two, with weights from memory (12 copies) and from the cache (one
// small matrix): a step must not cost much more for one token more.
void small_batches(benchmark::internal::Benchmark* bench) {
  for (const WeightFormat format :
       {WeightFormat::kQ8_0, WeightFormat::kI8Row, WeightFormat::kQ4_0, WeightFormat::kQ4_K}) {
    const auto id = static_cast<int64_t>(format);
    for (const int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 24, 32}) {
      bench->Args({id, 8960, 1536, tokens, 12});
      bench->Args({id, 512, 1536, tokens, 1});
    }
  }
}
BENCHMARK(gemm)
    ->Name("small_batch")
    ->Apply(small_batches)
    ->UseRealTime()
    ->MinTime(0.1)
    ->Unit(benchmark::kMicrosecond);

void read_probe(benchmark::State& state) {
  std::vector<uint8_t> bytes(size_t{1} << 30, 1);
  const size_t share = bytes.size() / static_cast<size_t>(pool().num_threads());
  for (auto _ : state) {
    pool().run([&](int worker) {
      benchmark::DoNotOptimize(best_kernels().read_bytes(bytes.data() + worker * share, share));
    });
  }
  state.counters["GB/s"] = benchmark::Counter(
      static_cast<double>(bytes.size()) * 1e-9 * static_cast<double>(state.iterations()),
      benchmark::Counter::kIsRate);
}
BENCHMARK(read_probe)->UseRealTime()->MinTime(0.5)->Unit(benchmark::kMillisecond);

void int8_peak(benchmark::State& state) {
  uint64_t operations = 0;
  for (auto _ : state) {
    std::atomic<uint64_t> sum{0};
    pool().run([&](int) { sum += best_kernels().dot_peak(1'000'000); });
    operations += sum;
  }
  state.counters["GOPS"] =
      benchmark::Counter(1e-9 * static_cast<double>(operations), benchmark::Counter::kIsRate);
}
BENCHMARK(int8_peak)->UseRealTime()->MinTime(0.2)->Unit(benchmark::kMillisecond);

// One thread: six heads of 128 over one full chunk of bf16 K and V; argument: chunks in the cache.
void attention(benchmark::State& state) {
  const int64_t stride = kv_head_block_bytes(128, KvType::kBF16);
  const int64_t num_blocks = state.range(0) * 16;
  std::vector<uint8_t> cache(static_cast<size_t>(stride * num_blocks), 0x3c);
  std::vector<float> q(6 * 128, 0.01f), partials(6 * attention_partial_floats(128));
  std::vector<int32_t> ids(static_cast<size_t>(num_blocks));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  AttentionArgs args{
      q.data(), 128,        6,   128,           0.088f,          cache.data(),
      stride,   ids.data(), 256, KvType::kBF16, partials.data(), attention_partial_floats(128)};
  size_t chunk = 0;
  for (auto _ : state) {
    args.block_ids = ids.data() + chunk * 16;
    best_kernels().attention_chunk(args);
    chunk = (chunk + 1) % static_cast<size_t>(state.range(0));
  }
  const auto runs = static_cast<double>(state.iterations());
  state.counters["GFLOPS"] =
      benchmark::Counter(4e-9 * 6 * 128 * 256 * runs, benchmark::Counter::kIsRate);
  state.counters["GB/s"] =
      benchmark::Counter(16e-9 * static_cast<double>(stride) * runs, benchmark::Counter::kIsRate);
}
BENCHMARK(attention)->Arg(1)->Arg(2048)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sparrow

BENCHMARK_MAIN();
