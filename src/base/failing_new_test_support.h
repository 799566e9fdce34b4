#pragma once
// For tests: operator new of the whole program fails once, on demand. Link
// failing_new_test_support.cc into the test. Any thread.

#include <cstdint>

namespace sparrow {

// The k-th allocation from now on throws bad_alloc, once.
void fail_allocation(int64_t k);
// No more failures. How many allocations were left before the failing one; negative: it failed.
int64_t stop_failing_allocations();

}  // namespace sparrow
