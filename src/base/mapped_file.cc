#include "base/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace sparrow {

Result<MappedFile> MappedFile::open(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    const StatusCode code =
        errno == ENOENT ? StatusCode::kNotFound : StatusCode::kFailedPrecondition;
    return Status(code, fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
  }
  struct stat info {};
  if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(file);
    return invalid_argument(fmt::format("{}: not a regular file", path));
  }
  MappedFile mapped;
  mapped.path_ = path;
  mapped.size_bytes_ = static_cast<uint64_t>(info.st_size);
  if (mapped.size_bytes_ > 0) {
    void* address = ::mmap(nullptr, mapped.size_bytes_, PROT_READ, MAP_SHARED, file, 0);
    if (address == MAP_FAILED) {
      const int error = errno;
      ::close(file);
      return failed_precondition(fmt::format("{}: cannot map: {}", path, std::strerror(error)));
    }
    mapped.data_ = static_cast<const std::byte*>(address);
  }
  ::close(file);
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_bytes_);
}

void MappedFile::drop(std::span<const std::byte> range) const {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(range.data()) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(range.data()) + range.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace sparrow
