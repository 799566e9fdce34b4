#include "base/random.h"

#include <sys/random.h>

#include "base/check.h"

namespace sparrow {

uint64_t entropy64() {
  uint64_t value = 0;
  CHECK(::getrandom(&value, sizeof(value), 0) == static_cast<ssize_t>(sizeof(value)));
  return value;
}

}  // namespace sparrow
