#pragma once
// ComputePool: fork-join parallelism for kernels. run() executes one function on every worker and
// returns when all are done; worker 0 is the calling thread.
//
// Workers spin for a short while between two runs (a step has ~140 of them) and then sleep, so an
// idle engine costs nothing. The caller, too, sleeps once it has waited that long for a worker: its
// CPU is then free for a worker that a foreign process has pushed off its own, so a busy neighbour
// costs its share and not a collapse. run() is called from one thread at a time; not re-entrant.
//
// What a body throws, on whichever worker, comes out of run() when all workers are done with it
// (the first of several); the pool is then as before.
//
//   pool.parallel_for(num_strips, [&](int64_t strip, int worker) { multiply(strip); });

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace sparrow {

class ComputePool {
 public:
  // num_threads < 1 means default_num_threads(). Worker w stays on CPU pinned_cpus[w] where that
  // list is not empty (it then has num_threads entries); worker 0 does from pin_caller() on.
  explicit ComputePool(int num_threads, std::vector<int> pinned_cpus = {});
  ~ComputePool();
  ComputePool(const ComputePool&) = delete;
  ComputePool& operator=(const ComputePool&) = delete;

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls body(worker) once for every worker in [0, num_threads()).
  template <typename Body>
  void run(Body&& body) {
    run_erased([](void* context, int worker) { (*static_cast<Body*>(context))(worker); }, &body);
  }

  // Calls body(index, worker) for every index in [0, count). Each worker starts with its own
  // contiguous share and helps the others when it is done, so a preempted thread costs its share.
  // The split never changes a result: one index is one unit of output.
  template <typename Body>
  void parallel_for(int64_t count, Body&& body) {
    if (count <= 0) return;
    if (threads_.empty() || count == 1) {
      for (int64_t index = 0; index < count; ++index) body(index, 0);
      return;
    }
    begin_loop(count);
    run([&](int worker) {
      for (int64_t index = next_index(worker); index >= 0; index = next_index(worker)) {
        body(index, worker);
      }
    });
  }

  // The calling thread is worker 0 from now on: it is pinned, if the pool is. Cheap to repeat.
  void pin_caller();

  // OMP_NUM_THREADS, else one thread per physical core that this process may use, at most its
  // cgroup's CPU quota (cpu_topology.h).
  static int default_num_threads();

 private:
  using ErasedBody = void (*)(void* context, int worker);
  struct alignas(64) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  void run_erased(ErasedBody body, void* context);
  void call_body(int worker) noexcept;
  void rethrow_failure();
  void worker_main(int worker);
  void pin_to_cpu(int worker);
  void begin_loop(int64_t count);
  int64_t next_index(int worker);

  const std::vector<int> pinned_cpus_;
  std::thread::id pinned_caller_;

  // Written by the calling thread before the generation is published.
  ErasedBody body_ = nullptr;
  void* context_ = nullptr;
  std::unique_ptr<Share[]> shares_;

  alignas(64) std::atomic<uint64_t> generation_{0};
  alignas(64) std::atomic<int> num_running_{0};
  std::atomic<int> num_sleeping_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::exception_ptr failure_;  // of the run in progress; guarded by mutex_ until all are done
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
};

}  // namespace sparrow
