#include "kernels/cuda/twin/twin_block.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "kernels/cuda/twin/twin_fiber.h"

namespace sparrow::gpu_twin {
namespace {

constexpr size_t kStackBytes = 64 << 10;

enum class State : uint8_t { kReady, kAtBlockBarrier, kAtWarpBarrier, kDone };

// A thread of the block; it serves one block after the other.
struct Fiber {
  TwinFiber fiber;
  Index3 thread_index;
  int lane = 0;
  size_t warp = 0;
  State state = State::kDone;
  unsigned waits_for = 0;  // lanes, at a warp barrier
  unsigned num_collectives = 0;
};

struct Warp {
  unsigned waiting = 0;  // lanes at a warp barrier
  unsigned mask = 0;     // of all of them, unless they differ
  bool masks_differ = false;
  // Two, taken in turns: a lane can be one collective ahead of those that still read, never two.
  std::array<std::array<uint64_t, kWarpSize>, 2> published;
};

class Block {
 public:
  void run(Dim3 grid, Dim3 block, size_t shared_bytes, KernelBody body, const void* closure);

  void wait_for_block() { pause(State::kAtBlockBarrier); }
  void wait_for_warp(unsigned mask) {
    CHECK((mask >> running_->lane & 1u) != 0 && "a lane must be in its own mask");
    running_->waits_for = mask;
    Warp& warp = warps_[running_->warp];
    warp.masks_differ = warp.waiting != 0 && (warp.masks_differ || warp.mask != mask);
    warp.mask = mask;
    warp.waiting |= 1u << running_->lane;
    pause(State::kAtWarpBarrier);
  }
  void publish(uint64_t value, unsigned mask) {
    const size_t turn = ++running_->num_collectives % 2;
    warps_[running_->warp].published[turn][static_cast<size_t>(running_->lane)] = value;
    wait_for_warp(mask);
  }
  uint64_t published(int lane) const {
    return warps_[running_->warp]
        .published[running_->num_collectives % 2][static_cast<size_t>(lane)];
  }
  std::byte* shared() { return shared_.get(); }

 private:
  static void fiber_main();
  void prepare(Dim3 block);
  void run_block(uint64_t seed);
  void resume(Fiber& fiber);
  void pause(State state);
  void run_warp(size_t warp, uint64_t seed);
  bool release_block();
  bool release_warp(size_t index);
  bool release_lanes(size_t warp, unsigned present, unsigned mask);
  // Of the lowest lane in `lanes`.
  Fiber& fiber_of(size_t warp, unsigned lanes) {
    return *fibers_[warp * kWarpSize + static_cast<size_t>(std::countr_zero(lanes))];
  }

  std::vector<std::unique_ptr<Fiber>> fibers_;  // grows to the largest block
  std::vector<Warp> warps_;
  std::vector<size_t> order_;  // of warps
  std::unique_ptr<std::byte[]> shared_;
  size_t num_threads_ = 0;
  Fiber* running_ = nullptr;
  TwinFiber scheduler_;
  KernelBody body_ = nullptr;
  const void* closure_ = nullptr;
};

thread_local Block tls_block;

void Block::fiber_main() {
  Block& block = tls_block;
  for (;;) {
    block.body_(block.closure_);
    block.pause(State::kDone);
  }
}

void Block::prepare(Dim3 block) {
  num_threads_ = block.count();
  CHECK(num_threads_ >= 1 && num_threads_ <= kMaxThreadsPerBlock);
  while (fibers_.size() < num_threads_) {
    fibers_.push_back(std::make_unique<Fiber>());
    fibers_.back()->fiber.start(&Block::fiber_main, kStackBytes);
  }
  warps_.resize((num_threads_ + kWarpSize - 1) / kWarpSize);
  for (size_t i = 0; i < num_threads_; ++i) {
    Fiber& fiber = *fibers_[i];
    fiber.thread_index = {static_cast<unsigned>(i % block.x),
                          static_cast<unsigned>(i / block.x % block.y),
                          static_cast<unsigned>(i / block.x / block.y)};
    fiber.lane = static_cast<int>(i % kWarpSize);
    fiber.warp = i / kWarpSize;
  }
  order_.resize(warps_.size());
}

void Block::run(Dim3 grid, Dim3 block, size_t shared_bytes, KernelBody body, const void* closure) {
  CHECK(running_ == nullptr && "a kernel started a kernel");
  CHECK(shared_bytes <= kMaxSharedBytes);
  if (shared_ == nullptr) shared_ = std::make_unique<std::byte[]>(kMaxSharedBytes);
  body_ = body;
  closure_ = closure;
  prepare(block);
  blockDim = block;
  gridDim = grid;
  const size_t num_blocks = grid.count();
  CHECK(num_blocks >= 1);
  for (size_t i = 0; i < num_blocks; ++i) {
    // Every other launch size runs its blocks backwards; within a block the order is shuffled.
    const size_t index = num_blocks % 2 == 0 ? num_blocks - 1 - i : i;
    blockIdx = {static_cast<unsigned>(index % grid.x),
                static_cast<unsigned>(index / grid.x % grid.y),
                static_cast<unsigned>(index / grid.x / grid.y)};
    std::memset(shared_.get(), 0xff, shared_bytes);
    run_block(mix64(index + num_blocks));
  }
  running_ = nullptr;
}

void Block::run_block(uint64_t seed) {
  for (size_t i = 0; i < num_threads_; ++i) {
    fibers_[i]->state = State::kReady;
    fibers_[i]->num_collectives = 0;
  }
  for (size_t i = 0; i < warps_.size(); ++i) {
    warps_[i].waiting = 0;
    order_[i] = i;
  }
  for (size_t i = warps_.size(); i > 1; --i) {
    std::swap(order_[i - 1], order_[mix64(seed + i) % i]);
  }
  // Each warp alone to the next block barrier, in an order that changes from block to block: what
  // relies on warps keeping in step reads values that are not there yet, or are there no more.
  do {
    for (const size_t warp : order_) run_warp(warp, seed);
  } while (release_block());
}

void Block::run_warp(size_t warp, uint64_t seed) {
  const size_t begin = warp * kWarpSize;
  const size_t num_lanes = std::min<size_t>(kWarpSize, num_threads_ - begin);
  const size_t first = mix64(seed ^ warp) % num_lanes;
  const bool backwards = (seed >> warp % 64 & 1u) != 0;
  do {
    for (size_t i = 0; i < num_lanes; ++i) {
      const size_t place = (first + i) % num_lanes;
      Fiber& fiber = *fibers_[begin + (backwards ? num_lanes - 1 - place : place)];
      if (fiber.state == State::kReady) resume(fiber);
    }
  } while (release_warp(warp));
}

void Block::resume(Fiber& fiber) {
  running_ = &fiber;
  threadIdx = fiber.thread_index;
  TwinFiber::switch_to(scheduler_, fiber.fiber);
}

void Block::pause(State state) {
  Fiber& fiber = *running_;
  fiber.state = state;
  TwinFiber::switch_to(fiber.fiber, scheduler_);
}

// False when all threads are done.
bool Block::release_block() {
  size_t num_done = 0, num_at_barrier = 0;
  for (size_t i = 0; i < num_threads_; ++i) {
    num_done += fibers_[i]->state == State::kDone ? 1 : 0;
    num_at_barrier += fibers_[i]->state == State::kAtBlockBarrier ? 1 : 0;
  }
  if (num_done == num_threads_) return false;
  CHECK(num_at_barrier == num_threads_ &&
        "some threads of a block wait for others that never come (a barrier in a branch, or a warp "
        "mask that names an absent lane)");
  for (size_t i = 0; i < num_threads_; ++i) fibers_[i]->state = State::kReady;
  return true;
}

// Releases lanes whose whole mask waits, with the same mask; false when there are none.
bool Block::release_warp(size_t index) {
  Warp& warp = warps_[index];
  if (warp.waiting == 0) return false;
  if (!warp.masks_differ) return release_lanes(index, warp.waiting, warp.mask);
  for (unsigned left = warp.waiting; left != 0; left &= left - 1) {
    const unsigned mask = fiber_of(index, left).waits_for;
    unsigned present = 0;
    for (unsigned other = warp.waiting; other != 0; other &= other - 1) {
      if (fiber_of(index, other).waits_for == mask) present |= other & -other;
    }
    if (release_lanes(index, present, mask)) return true;
  }
  return false;
}

bool Block::release_lanes(size_t warp, unsigned present, unsigned mask) {
  if (present != mask) return false;
  for (unsigned left = mask; left != 0; left &= left - 1) {
    fiber_of(warp, left).state = State::kReady;
  }
  warps_[warp].waiting &= ~mask;
  return true;
}

}  // namespace

void run_grid(Dim3 grid, Dim3 block, size_t shared_bytes, KernelBody body, const void* closure) {
  tls_block.run(grid, block, shared_bytes, body, closure);
}
void block_barrier() { tls_block.wait_for_block(); }
void warp_barrier(unsigned mask) { tls_block.wait_for_warp(mask); }
std::byte* shared_memory() { return tls_block.shared(); }
void publish_to_warp(uint64_t value, unsigned mask) { tls_block.publish(value, mask); }
uint64_t published_by(int lane) { return tls_block.published(lane); }

}  // namespace sparrow::gpu_twin
