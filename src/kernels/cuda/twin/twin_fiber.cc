#include "kernels/cuda/twin/twin_fiber.h"

#include <cstdint>

#ifdef __x86_64__

// Saves what a callee must preserve (System V ABI) on the old stack, and takes it from the new one.
extern "C" void sparrow_twin_switch(void** old_stack_pointer, void* new_stack_pointer);
asm(R"(
.text
.type sparrow_twin_switch, @function
.globl sparrow_twin_switch
sparrow_twin_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size sparrow_twin_switch, .-sparrow_twin_switch
)");

namespace sparrow::gpu_twin {

void TwinFiber::start(Entry entry, size_t stack_bytes) {
  stack_ = std::make_unique<std::byte[]>(stack_bytes);
  auto top = reinterpret_cast<uintptr_t>(stack_.get() + stack_bytes) & ~uintptr_t{15};
  // Above the six registers lie the entry as return address, and an empty return address of its
  // own: at its first instruction the stack is 8 off a multiple of 16, as after a call.
  auto* words = reinterpret_cast<uint64_t*>(top) - 8;
  for (int i = 0; i < 8; ++i) words[i] = 0;
  words[6] = reinterpret_cast<uint64_t>(entry);
  stack_pointer_ = words;
}

void TwinFiber::switch_to(TwinFiber& from, TwinFiber& to) {
  sparrow_twin_switch(&from.stack_pointer_, to.stack_pointer_);
}

}  // namespace sparrow::gpu_twin

#else

namespace sparrow::gpu_twin {

void TwinFiber::start(Entry entry, size_t stack_bytes) {
  stack_ = std::make_unique<std::byte[]>(stack_bytes);
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_.get();
  context_.uc_stack.ss_size = stack_bytes;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
}

void TwinFiber::switch_to(TwinFiber& from, TwinFiber& to) {
  swapcontext(&from.context_, &to.context_);
}

}  // namespace sparrow::gpu_twin

#endif
