#include "tools/bench/machine_probe.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/clock.h"

namespace sparrow {
namespace {

constexpr int kPasses = 5;
constexpr int64_t kPeakIterations = 1 << 21;

}  // namespace

ReadProbe::ReadProbe(const Kernels& kernels, ComputePool& pool, AlignedBuffer buffer)
    : kernels_(&kernels), pool_(&pool), buffer_(std::move(buffer)) {}

Result<ReadProbe> ReadProbe::create(const Kernels& kernels, ComputePool& pool, size_t bytes) {
  // The memory of weights: large pages, where the system has them.
  ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::try_allocate(bytes, "the bandwidth probe"));
  const size_t share = bytes / static_cast<size_t>(pool.num_threads());
  uint8_t* const data = buffer.as<uint8_t>();
  // Each worker touches its own part first, so that on several sockets it reads local memory.
  pool.run([&](int worker) { std::memset(data + share * static_cast<size_t>(worker), 1, share); });
  return ReadProbe(kernels, pool, std::move(buffer));
}

double ReadProbe::pass() {
  const auto workers = static_cast<size_t>(pool_->num_threads());
  const size_t share = buffer_.size_bytes() / workers;
  const uint8_t* const data = buffer_.as<uint8_t>();
  const RealClock clock;
  std::atomic<uint64_t> sink{0};
  const TimePoint begin = clock.now();
  pool_->run([&](int worker) {
    sink.fetch_add(kernels_->read_bytes(data + share * static_cast<size_t>(worker), share));
  });
  const double seconds = to_seconds(clock.now() - begin);
  // The sum is never 1: it only keeps the reads alive.
  return sink.load() == 1 ? 0.0 : static_cast<double>(share * workers) / seconds;
}

double ReadProbe::best_of_five() {
  double best = 0;
  for (int i = 0; i < kPasses; ++i) best = std::max(best, pass());
  return best;
}

double probe_int8_peak(const Kernels& kernels, ComputePool& pool) {
  if (kernels.dot_peak == nullptr) return 0;
  const RealClock clock;
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    std::atomic<uint64_t> operations{0};
    const TimePoint begin = clock.now();
    pool.run([&](int) { operations.fetch_add(kernels.dot_peak(kPeakIterations)); });
    best = std::max(best, static_cast<double>(operations.load()) / to_seconds(clock.now() - begin));
  }
  return best;
}

}  // namespace sparrow
