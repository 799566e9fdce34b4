#include "tools/pull/hub_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/file.h"
#include "tools/pull/hub_id.h"

namespace sparrow {
namespace {

namespace fs = std::filesystem;

constexpr int kLockPollMs = 200;
// Links, folders, and whatever else lives on the disk.
constexpr int64_t kReserveBytes = int64_t{64} << 20;
constexpr const char* kCacheTag =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder is a cache of downloaded models (https://bford.info/cachedir/).\n";

Status make_folders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error) return ok_status();
  errno = error.value();
  return cache_error(path, "cannot create the folder");
}

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

// "../../blobs/<etag>", one ".." more for each folder inside the snapshot.
std::string link_target(const HubFile& file) {
  std::string up = "../../";
  for (const char c : file.path) {
    if (c == '/') up += "../";
  }
  return up + "blobs/" + file.etag;
}

}  // namespace

Status cache_error(const std::string& path, const char* what) {
  const int error = errno;
  const std::string text = fmt::format("{}: {}: {}", path, what, std::strerror(error));
  if (error == EROFS || error == EACCES || error == EPERM) {
    return failed_precondition(
        text +
        ". The cache cannot be written: name another folder with --cache-dir or HF_HUB_CACHE");
  }
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    return resource_exhausted(
        text + ". Free some space and run the same command again: it goes on where it was");
  }
  return failed_precondition(text);
}

Status sync_folder(const std::string& path) {
  const int folder = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return cache_error(path, "cannot open");
  const bool synced = ::fsync(folder) == 0;
  // Some network file systems do not sync folders.
  const Status status = synced || errno == EINVAL || errno == ENOTSUP
                            ? ok_status()
                            : cache_error(path, "cannot sync");
  ::close(folder);
  return status;
}

Status check_free_space(const std::string& folder, int64_t needed, int64_t available) {
  if (needed <= 0 || available >= needed + kReserveBytes) return ok_status();
  return resource_exhausted(
      fmt::format("{}: not enough disk space: {:.2f} GB needed, {:.2f} GB free. Free some, or name "
                  "another folder "
                  "with --cache-dir",
                  folder, static_cast<double>(needed + kReserveBytes) * 1e-9,
                  static_cast<double>(available) * 1e-9));
}

HubCache::HubCache(std::string root, const std::string& id)
    : root_(std::move(root)),
      folder_(root_ + "/" + hub_cache_folder(id)),
      locks_(root_ + "/.locks/" + hub_cache_folder(id)) {}

Status HubCache::prepare() const {
  for (const std::string& path :
       {folder_ + "/blobs", folder_ + "/refs", folder_ + "/snapshots", locks_}) {
    RETURN_IF_ERROR(make_folders(path));
  }
  const std::string tag = root_ + "/CACHEDIR.TAG";
  std::error_code ignored;
  if (fs::exists(tag, ignored)) return ok_status();
  return write_file_atomically(tag, kCacheTag);
}

bool HubCache::has_blob(const HubFile& file) const {
  struct stat info {};
  return ::stat(blob_path(file).c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
         info.st_size == file.size;
}

int64_t HubCache::incomplete_bytes(const HubFile& file) const {
  struct stat info {};
  const bool there = ::lstat(incomplete_path(file).c_str(), &info) == 0 && S_ISREG(info.st_mode);
  return there && info.st_size <= file.size ? static_cast<int64_t>(info.st_size) : 0;
}

Result<int64_t> HubCache::free_bytes() const {
  struct statvfs info {};
  if (::statvfs(folder_.c_str(), &info) != 0)
    return cache_error(folder_, "cannot ask for free space");
  // Of very large volumes as much as the type holds.
  const auto bytes = static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize);
  return static_cast<int64_t>(std::min(bytes, 4e18));
}

bool HubCache::is_linked(const std::string& commit, const HubFile& file) const {
  const std::string path = snapshot_path(commit) + "/" + file.path;
  std::error_code error;
  if (fs::is_symlink(path, error)) return fs::read_symlink(path, error) == link_target(file);
  // huggingface_hub puts the file itself where links do not work.
  const auto size = fs::file_size(path, error);
  return !error && static_cast<int64_t>(size) == file.size;
}

Status HubCache::link(const std::string& commit, const HubFile& file) const {
  if (is_linked(commit, file)) return ok_status();
  const std::string path = snapshot_path(commit) + "/" + file.path;
  RETURN_IF_ERROR(make_folders(parent_of(path)));
  const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  ::unlink(temporary.c_str());
  if (::symlink(link_target(file).c_str(), temporary.c_str()) != 0) {
    return cache_error(temporary, "cannot create the link");
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    return cache_error(path, "cannot rename to");
  return ok_status();
}

std::string HubCache::read_ref(const std::string& revision) const {
  const Result<std::string> content = read_file(folder_ + "/refs/" + revision, 128);
  if (!content.ok()) return {};
  const std::string commit = content->substr(0, content->find_last_not_of(" \r\n") + 1);
  return is_commit(commit) ? commit : std::string();
}

Status HubCache::write_ref(const std::string& revision, const std::string& commit) const {
  // A commit names itself.
  if (is_commit(revision) || read_ref(revision) == commit) return ok_status();
  const std::string path = folder_ + "/refs/" + revision;
  RETURN_IF_ERROR(make_folders(parent_of(path)));
  RETURN_IF_ERROR(write_file_atomically(path, commit));
  return sync_folder(parent_of(path));
}

Result<BlobLock> BlobLock::acquire(const std::string& path, const std::atomic<bool>* stop,
                                   const std::function<void()>& waiting) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file < 0) return cache_error(path, "cannot create");
  BlobLock lock(file);
  bool told = false;
  while (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) {
      return cache_error(path,
                         "this file system has no locks; name a local folder with --cache-dir");
    }
    if (!told && waiting) waiting();
    told = true;
    if (stop != nullptr && stop->load()) return Status(StatusCode::kCancelled, "stopped");
    ::poll(nullptr, 0, kLockPollMs);
  }
  return lock;
}

BlobLock::~BlobLock() {
  // The file stays: removing it would let two processes lock two files of one name.
  if (file_ >= 0) ::close(file_);
}

BlobLock::BlobLock(BlobLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

}  // namespace sparrow
