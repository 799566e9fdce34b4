#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace sparrow {
namespace {

constexpr size_t kFirstRead = 4096;

Status errno_status(const std::string& path, const char* what) {
  const int error = errno;
  const StatusCode code = error == ENOENT ? StatusCode::kNotFound : StatusCode::kFailedPrecondition;
  return Status(code, fmt::format("{}: {}: {}", path, what, std::strerror(error)));
}

}  // namespace

Result<std::string> read_file(const std::string& path, size_t max_bytes) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return errno_status(path, "cannot open");
  struct stat info {};
  if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(file);
    return invalid_argument(fmt::format("{}: not a regular file", path));
  }
  const auto size = static_cast<size_t>(info.st_size);
  if (size > max_bytes) {
    ::close(file);
    return resource_exhausted(
        fmt::format("{}: {} bytes are more than the limit of {}", path, size, max_bytes));
  }
  // The size is a hint: files under /proc and /sys report 0 and still have content.
  std::string content;
  size_t done = 0;
  while (done <= max_bytes) {
    content.resize(std::min(max_bytes + 1, std::max({size + 1, done * 2, kFirstRead})));
    const ssize_t got = ::read(file, content.data() + done, content.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const Status failure = errno_status(path, "cannot read");
      ::close(file);
      return failure;
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  ::close(file);
  if (done > max_bytes) {
    return resource_exhausted(fmt::format("{}: more than the limit of {} bytes", path, max_bytes));
  }
  if (done < size) return data_loss(fmt::format("{}: read {} of {} bytes", path, done, size));
  content.resize(done);
  return content;
}

Result<FileStamp> file_stamp(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return errno_status(path, "cannot look at");
  FileStamp stamp;
  stamp.modified_ns = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
  stamp.size = static_cast<int64_t>(info.st_size);
  stamp.inode = static_cast<uint64_t>(info.st_ino);
  stamp.world_readable = (info.st_mode & S_IROTH) != 0;
  return stamp;
}

Status write_file_atomically(const std::string& path, std::string_view content) {
  const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return errno_status(temporary, "cannot create");
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t put = ::write(file, content.data() + done, content.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) break;
    done += static_cast<size_t>(put);
  }
  const bool written = done == content.size() && ::fsync(file) == 0;
  const Status failure = written ? ok_status() : errno_status(temporary, "cannot write");
  ::close(file);
  if (!written) {
    ::unlink(temporary.c_str());
    return failure;
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    return errno_status(path, "cannot rename to");
  return ok_status();
}

}  // namespace sparrow
