#include "base/failing_new_test_support.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace sparrow {
namespace {

std::atomic<int64_t> g_until_failure{-1};  // negative: none will fail

bool must_fail() {
  if (g_until_failure.load(std::memory_order_relaxed) < 0) return false;
  return g_until_failure.fetch_sub(1) == 0;
}

}  // namespace

void fail_allocation(int64_t k) { g_until_failure = k; }
int64_t stop_failing_allocations() { return g_until_failure.exchange(-1); }

}  // namespace sparrow

// In a file of their own: the compiler must not pair an inlined free() with a plain new.
void* operator new(size_t size) {
  if (sparrow::must_fail()) throw std::bad_alloc();
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
