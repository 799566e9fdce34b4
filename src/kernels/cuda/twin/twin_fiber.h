#pragma once
// TwinFiber: a stack that runs a function until it gives the CPU back, and goes on from there.
// Stays on the thread that made it. Switching costs a few nanoseconds on x86-64; elsewhere the C
// library's contexts do it, slower.

#include <cstddef>
#include <memory>

#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace sparrow::gpu_twin {

class TwinFiber {
 public:
  using Entry = void (*)();  // never returns

  TwinFiber() = default;  // of the thread itself: where the fibers come back to
  TwinFiber(const TwinFiber&) = delete;
  TwinFiber& operator=(const TwinFiber&) = delete;

  // Gives it a stack; the first switch to it calls entry.
  void start(Entry entry, size_t stack_bytes);
  // Leaves `from`, which runs, and goes on in `to`.
  static void switch_to(TwinFiber& from, TwinFiber& to);

 private:
  std::unique_ptr<std::byte[]> stack_;
#ifdef __x86_64__
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_;
#endif
};

}  // namespace sparrow::gpu_twin
