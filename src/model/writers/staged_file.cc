#include "model/writers/staged_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace sparrow {
namespace {

Status errno_status(const std::string& path, const char* what) {
  return failed_precondition(fmt::format("{}: {}: {}", path, what, std::strerror(errno)));
}

}  // namespace

Result<std::unique_ptr<StagedFile>> StagedFile::create(const std::string& path,
                                                       uint64_t expected_bytes) {
  const std::string partial_path = path + ".partial";
  const int file = ::open(partial_path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return errno_status(partial_path, "cannot create");
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    ::close(file);
    return unavailable(fmt::format("{}: another process is writing it", partial_path));
  }
  std::unique_ptr<StagedFile> staged(new StagedFile(path, partial_path, file));
  if (::ftruncate(file, 0) != 0) return errno_status(partial_path, "cannot write");
  struct statvfs disk {};
  if (::fstatvfs(file, &disk) == 0) {
    const uint64_t free_bytes = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
    if (free_bytes < expected_bytes) {
      return resource_exhausted(fmt::format("{}: {} bytes are needed, {} are free on the disk",
                                            path, expected_bytes, free_bytes));
    }
  }
  return staged;
}

StagedFile::~StagedFile() {
  if (file_ < 0) return;
  ::unlink(partial_path_.c_str());
  ::close(file_);
}

Status StagedFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(file_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return errno_status(partial_path_, "cannot write");
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return ok_status();
}

Status StagedFile::commit() {
  if (::fsync(file_) != 0) return errno_status(partial_path_, "cannot write");
  if (std::rename(partial_path_.c_str(), path_.c_str()) != 0) {
    return errno_status(path_, "cannot rename to");
  }
  ::close(file_);
  file_ = -1;
  return ok_status();
}

}  // namespace sparrow
