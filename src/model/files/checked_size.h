#pragma once
// CheckedSize: unsigned 64-bit arithmetic on numbers that a file claims. A sum or product that does
// not fit stays invalid through everything computed from it; the value is only given out after a
// check against what is really there. Sizes and offsets of files are never added or multiplied
// outside this type.
//
//   const CheckedSize bytes = CheckedSize(rows) * cols * element_bytes;
//   if (!bytes.at_most(file_bytes)) return data_loss(...);

#include <cstdint>

#include "base/check.h"

namespace sparrow {

class CheckedSize {
 public:
  constexpr CheckedSize(uint64_t value) : value_(value) {}  // NOLINT: implicit on purpose

  constexpr bool valid() const { return valid_; }
  constexpr bool at_most(uint64_t limit) const { return valid_ && value_ <= limit; }
  constexpr bool equals(uint64_t other) const { return valid_ && value_ == other; }
  uint64_t value() const {
    CHECK(valid_);
    return value_;
  }

  friend constexpr CheckedSize operator+(CheckedSize a, CheckedSize b) {
    CheckedSize sum(0);
    sum.valid_ = !__builtin_add_overflow(a.value_, b.value_, &sum.value_) && a.valid_ && b.valid_;
    return sum;
  }
  friend constexpr CheckedSize operator*(CheckedSize a, CheckedSize b) {
    CheckedSize product(0);
    product.valid_ =
        !__builtin_mul_overflow(a.value_, b.value_, &product.value_) && a.valid_ && b.valid_;
    return product;
  }
  // Up to the next multiple of `alignment`, a power of two.
  constexpr CheckedSize rounded_up(uint64_t alignment) const {
    CheckedSize sum = *this + (alignment - 1);
    sum.value_ &= ~(alignment - 1);
    return sum;
  }

 private:
  uint64_t value_;
  bool valid_ = true;
};

}  // namespace sparrow
