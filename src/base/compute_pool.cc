#include "base/compute_pool.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/file.h"

namespace sparrow {
namespace {

// About 20-50 us of spinning: longer than the serial work between two runs of a step, short enough
// that a preempted sibling is not starved.
constexpr int kSpinRounds = 4000;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// CPUs granted by cgroup v2 (cpu.max: "quota period" or "max period"); 0 when unlimited or unknown.
double cgroup_cpu_quota() {
  const Result<std::string> text = read_file("/sys/fs/cgroup/cpu.max", 4096);
  if (!text.ok()) return 0;
  char* end = nullptr;
  const double quota = std::strtod(text->c_str(), &end);
  if (end == text->c_str()) return 0;
  const double period = std::strtod(end, nullptr);
  return period > 0 ? quota / period : 0;
}

}  // namespace

int ComputePool::default_num_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const int wanted = std::atoi(text);
    if (wanted > 0) return std::min(wanted, 1024);
  }
  cpu_set_t mask;
  CPU_ZERO(&mask);
  int count = static_cast<int>(std::thread::hardware_concurrency());
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) count = CPU_COUNT(&mask);
  const double quota = cgroup_cpu_quota();
  if (quota > 0) count = std::min(count, static_cast<int>(std::floor(quota)));
  return std::max(count, 1);
}

ComputePool::ComputePool(int num_threads) {
  const int count = num_threads < 1 ? default_num_threads() : num_threads;
  shares_ = std::make_unique<Share[]>(static_cast<size_t>(count));
  for (int worker = 1; worker < count; ++worker) {
    threads_.emplace_back([this, worker] { worker_main(worker); });
  }
}

ComputePool::~ComputePool() {
  {
    std::lock_guard lock(mutex_);
    stop_.store(true);
    generation_.fetch_add(1);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ComputePool::run_erased(ErasedBody body, void* context) {
  body_ = body;
  context_ = context;
  if (threads_.empty()) {
    body(context, 0);
    return;
  }
  num_running_.store(static_cast<int>(threads_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1);  // sequentially consistent: pairs with the sleeper's check
  if (num_sleeping_.load() > 0) {
    { std::lock_guard lock(mutex_); }
    wake_.notify_all();
  }
  body(context, 0);
  int rounds = 0;
  while (num_running_.load(std::memory_order_acquire) != 0) {
    relax();
    if (++rounds > kSpinRounds) std::this_thread::yield();
  }
}

void ComputePool::worker_main(int worker) {
  uint64_t seen = 0;
  while (true) {
    int rounds = 0;
    while (generation_.load(std::memory_order_acquire) == seen && ++rounds < kSpinRounds) relax();
    if (generation_.load() == seen) {
      std::unique_lock lock(mutex_);
      num_sleeping_.fetch_add(1);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
      num_sleeping_.fetch_sub(1);
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    body_(context_, worker);
    num_running_.fetch_sub(1, std::memory_order_release);
  }
}

void ComputePool::begin_loop(int64_t count) {
  const int64_t workers = num_threads();
  for (int64_t worker = 0; worker < workers; ++worker) {
    Share& share = shares_[static_cast<size_t>(worker)];
    share.next.store(count * worker / workers, std::memory_order_relaxed);
    share.end = count * (worker + 1) / workers;
  }
}

int64_t ComputePool::next_index(int worker) {
  const int workers = num_threads();
  for (int step = 0; step < workers; ++step) {
    Share& share = shares_[static_cast<size_t>((worker + step) % workers)];
    if (share.next.load(std::memory_order_relaxed) >= share.end) continue;
    const int64_t index = share.next.fetch_add(1, std::memory_order_relaxed);
    if (index < share.end) return index;
  }
  return -1;
}

}  // namespace sparrow
