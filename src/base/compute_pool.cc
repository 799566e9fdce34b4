#include "base/compute_pool.h"

#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "base/cpu_topology.h"

namespace sparrow {
namespace {

// Longer than the serial work between two runs of a step, short enough that a preempted sibling is
// not starved. As a time, because one pause takes 10 to 140 cycles depending on the processor.
constexpr std::chrono::microseconds kSpinTime{50};
constexpr int kRoundsPerClock = 64;
constexpr int kMaxThreads = 1024;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `done` or the time is up; returns whether it is done.
template <typename Done>
bool spin_until(Done&& done) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point end{};
  while (true) {
    for (int round = 0; round < kRoundsPerClock; ++round) {
      if (done()) return true;
      relax();
    }
    const Clock::time_point now = Clock::now();
    if (end == Clock::time_point{}) end = now + kSpinTime;
    if (now >= end) return done();
  }
}

}  // namespace

int ComputePool::default_num_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    const int wanted = std::atoi(text);
    if (wanted > 0) return std::min(wanted, kMaxThreads);
  }
  return read_cpu_topology().default_threads();
}

ComputePool::ComputePool(int num_threads, std::vector<int> pinned_cpus)
    : pinned_cpus_(std::move(pinned_cpus)) {
  const int count = num_threads < 1 ? default_num_threads() : num_threads;
  CHECK(pinned_cpus_.empty() || pinned_cpus_.size() == static_cast<size_t>(count));
  shares_ = std::make_unique<Share[]>(static_cast<size_t>(count));
  // A worker takes no signal: whoever waits for SIGTERM does, even if it has it blocked just now.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int worker = 1; worker < count; ++worker) {
    threads_.emplace_back([this, worker] { worker_main(worker); });
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void ComputePool::pin_caller() {
  if (pinned_cpus_.empty() || pinned_caller_ == std::this_thread::get_id()) return;
  pin_to_cpu(0);
  pinned_caller_ = std::this_thread::get_id();
}

// A CPU that is gone (unplugged, taken from the cpuset) leaves the thread where it may run.
void ComputePool::pin_to_cpu(int worker) {
  if (pinned_cpus_.empty()) return;
  const int cpu = pinned_cpus_[static_cast<size_t>(worker)];
  if (cpu < 0 || cpu >= CPU_SETSIZE) return;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(static_cast<size_t>(cpu), &mask);
  sched_setaffinity(0, sizeof(mask), &mask);
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
  call_body(0);
  if (spin_until([&] { return num_running_.load(std::memory_order_acquire) == 0; })) {
    return rethrow_failure();
  }
  for (int left = num_running_.load(std::memory_order_acquire); left != 0;
       left = num_running_.load(std::memory_order_acquire)) {
    num_running_.wait(left, std::memory_order_acquire);
  }
  rethrow_failure();
}

// The body lives on the caller's stack, so nobody leaves before everybody is done.
void ComputePool::call_body(int worker) noexcept {
  try {
    body_(context_, worker);
  } catch (...) {
    std::lock_guard lock(mutex_);
    if (failure_ == nullptr) failure_ = std::current_exception();
  }
}

void ComputePool::rethrow_failure() {
  if (failure_ != nullptr) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ComputePool::worker_main(int worker) {
  pin_to_cpu(worker);
  uint64_t seen = 0;
  while (true) {
    if (!spin_until([&] { return generation_.load(std::memory_order_acquire) != seen; })) {
      std::unique_lock lock(mutex_);
      num_sleeping_.fetch_add(1);
      wake_.wait(lock, [&] { return generation_.load() != seen; });
      num_sleeping_.fetch_sub(1);
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    call_body(worker);
    if (num_running_.fetch_sub(1, std::memory_order_acq_rel) == 1) num_running_.notify_one();
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
