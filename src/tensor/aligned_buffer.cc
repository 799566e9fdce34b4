#include "tensor/aligned_buffer.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <limits>

namespace sparrow {
namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kHugePageBytes = size_t{2} << 20;

}  // namespace

AlignedBuffer::~AlignedBuffer() {
  if (data_ != nullptr) ::munmap(data_, mapped_bytes_);
}

Result<AlignedBuffer> AlignedBuffer::try_allocate(size_t num_bytes, const char* purpose) {
  AlignedBuffer buffer;
  if (num_bytes == 0) return buffer;
  const bool huge = num_bytes >= kHugePageBytes;
  const size_t unit = huge ? kHugePageBytes : kPageBytes;
  void* address = MAP_FAILED;
  size_t mapped_bytes = 0;
  if (num_bytes < std::numeric_limits<size_t>::max() / 2) {
    mapped_bytes = (num_bytes + unit - 1) / unit * unit;
    // One unit more than needed lets us start on a huge page border.
    const size_t reserved = huge ? mapped_bytes + kHugePageBytes : mapped_bytes;
    address = ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address != MAP_FAILED && huge) {
      auto* begin = static_cast<std::byte*>(address);
      const size_t skip =
          (kHugePageBytes - reinterpret_cast<size_t>(begin) % kHugePageBytes) % kHugePageBytes;
      if (skip > 0) ::munmap(begin, skip);
      if (skip < kHugePageBytes) ::munmap(begin + skip + mapped_bytes, kHugePageBytes - skip);
      address = begin + skip;
      // A hint: without huge pages everything works, with more TLB misses.
      (void)::madvise(address, mapped_bytes, MADV_HUGEPAGE);
    }
  }
  if (address == MAP_FAILED) {
    return resource_exhausted(fmt::format("no memory for {}: {} bytes", purpose, num_bytes));
  }
  buffer.data_ = static_cast<std::byte*>(address);
  buffer.size_bytes_ = num_bytes;
  buffer.mapped_bytes_ = mapped_bytes;
  return buffer;
}

}  // namespace sparrow
