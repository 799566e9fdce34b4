#pragma once
// CHECK (always on) and DCHECK (debug builds): invariants of our own code, never user input.
// A failed check prints file, line and expression and aborts: the state is no longer trustworthy.

namespace sparrow {
[[noreturn]] void check_failed(const char* file, int line, const char* expression);
}  // namespace sparrow

#define CHECK(condition)                                       \
  do {                                                         \
    if (!(condition)) [[unlikely]]                             \
      ::sparrow::check_failed(__FILE__, __LINE__, #condition); \
  } while (false)

#ifdef NDEBUG
#define DCHECK(condition)         \
  do {                            \
    if (false) (void)(condition); \
  } while (false)
#else
#define DCHECK(condition) CHECK(condition)
#endif
