#include "tools/pull/blob_download.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <vector>

#include "tools/pull/digest.h"

namespace sparrow {
namespace {

constexpr size_t kReadBytes = 1u << 20;
// Less than this beyond the furthest point so far is no progress: a server that breaks off after
// every few bytes, or sends the same bytes again and again, must not be asked for ever.
constexpr int64_t kProgressBytes = 65536;
constexpr int kHttpRangeNotSatisfiable = 416;

class BlobDownload {
 public:
  BlobDownload(HubClient& hub, const HubRevision& revision, const HubCache& cache,
               const HubFile& file, const BlobProgressCallback& progress)
      : hub_(hub),
        revision_(revision),
        cache_(cache),
        file_(file),
        progress_(progress),
        path_(cache.incomplete_path(file)),
        digest_(file.lfs, file.size) {}
  ~BlobDownload() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  int64_t received() const { return received_; }

  Status run() {
    RETURN_IF_ERROR(open());
    RETURN_IF_ERROR(read_back());
    RETURN_IF_ERROR(fetch());
    ASSIGN_OR_RETURN(bool right, check());
    if (!right && resumed_) {
      // What an earlier run left may be damaged (a power failure): once from the start.
      RETURN_IF_ERROR(restart());
      RETURN_IF_ERROR(fetch());
      ASSIGN_OR_RETURN(right, check());
    }
    if (!right) {
      ::unlink(path_.c_str());
      return data_loss(
          fmt::format("{}: the {} bytes received do not have the hash {} the hub lists. Nothing "
                      "was kept; if it "
                      "happens again something between here and the hub changes files",
                      file_.path, file_.size, file_.etag));
    }
    return publish();
  }

 private:
  Status open() {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (descriptor_ < 0) return cache_error(path_, "cannot create");
    struct stat info {};
    if (::fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode)) {
      return failed_precondition(path_ + ": not a regular file; remove it");
    }
    if (info.st_size > file_.size) return restart();
    on_disk_ = info.st_size;
    resumed_ = on_disk_ > 0;
    return ok_status();
  }

  // Hashes what an earlier run left.
  Status read_back() {
    std::vector<char> buffer(on_disk_ > 0 ? kReadBytes : 0);
    const int64_t end = on_disk_;
    on_disk_ = 0;
    while (on_disk_ < end) {
      const auto want = std::min<int64_t>(static_cast<int64_t>(buffer.size()), end - on_disk_);
      const ssize_t got = ::pread(descriptor_, buffer.data(), static_cast<size_t>(want), on_disk_);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return cache_error(path_, "cannot read");
      if (got == 0) break;
      digest_.update({buffer.data(), static_cast<size_t>(got)});
      on_disk_ += got;
      report();
      const std::atomic<bool>* stop = hub_.retry_options().stop;
      if (stop != nullptr && stop->load()) return Status(StatusCode::kCancelled, "stopped");
    }
    return ok_status();
  }

  Status restart() {
    if (::ftruncate(descriptor_, 0) != 0) return cache_error(path_, "cannot truncate");
    digest_.restart();
    on_disk_ = 0;
    resumed_ = false;
    report();
    return ok_status();
  }

  // Until the file has its size.
  Status fetch() {
    Retry retry(hub_.retry_options());
    furthest_ = on_disk_;
    while (on_disk_ < file_.size) {
      if (on_disk_ > 0) resumed_ = true;
      const Result<HttpHead> head = exchange();
      if (on_disk_ == file_.size) return ok_status();
      if (on_disk_ - furthest_ >= kProgressBytes) {
        retry.progressed();
        furthest_ = on_disk_;
      }
      double asked_s = 0;
      Status failure = head.status();
      if (head.ok()) {
        asked_s = head->retry_after_s;
        failure = unavailable(fmt::format("{}: the connection ended after {} of {} bytes",
                                          file_.path, on_disk_, file_.size));
        if (head->status == kHttpRangeNotSatisfiable && on_disk_ > 0) {
          RETURN_IF_ERROR(restart());
        } else if (head->status >= 300) {
          failure = hub_.refusal(*head, revision_.id, file_.path);
        }
      }
      if (failure.code() != StatusCode::kUnavailable) return failure;
      RETURN_IF_ERROR(hub_.wait_before_retry(retry, failure, asked_s));
    }
    return ok_status();
  }

  Result<HttpHead> exchange() {
    HttpHandlers handlers;
    handlers.on_head = [this](const HttpHead& head) { return accept(head); };
    handlers.on_body = [this](std::string_view bytes) { return append(bytes); };
    return hub_.get_file(revision_, file_.path, on_disk_, handlers);
  }

  // Decides whether the body goes on where we are, or begins anew.
  Status accept(const HttpHead& head) {
    if (head.status == 206) {
      if (head.range_total >= 0 && head.range_total != file_.size)
        return other_size(head.range_total);
      if (head.range_begin == on_disk_ && !head.encoded) return ok_status();
      // A part we did not ask for, or of another representation: ask for all of it.
      RETURN_IF_ERROR(restart());
      return unavailable(
          fmt::format("{}: the server sent another part than asked for", file_.path));
    }
    if (!head.encoded && head.content_length >= 0 && head.content_length != file_.size) {
      return other_size(head.content_length);
    }
    return on_disk_ > 0 ? restart() : ok_status();  // the range was ignored
  }

  Status other_size(int64_t size) const {
    return data_loss(fmt::format("{}: the server has {} bytes, the hub's list says {}", file_.path,
                                 size, file_.size));
  }

  Status append(std::string_view bytes) {
    if (static_cast<int64_t>(bytes.size()) > file_.size - on_disk_) {
      // What came so far belongs to another file.
      RETURN_IF_ERROR(restart());
      return data_loss(fmt::format("{}: the server sends more than the {} bytes of the hub's list",
                                   file_.path, file_.size));
    }
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t put = ::pwrite(descriptor_, bytes.data() + done, bytes.size() - done, on_disk_);
      if (put < 0 && errno == EINTR) continue;
      if (put <= 0) return cache_error(path_, "cannot write");
      digest_.update(bytes.substr(done, static_cast<size_t>(put)));
      done += static_cast<size_t>(put);
      on_disk_ += put;
      received_ += put;
    }
    report();
    return ok_status();
  }

  Result<bool> check() {
    ASSIGN_OR_RETURN(const std::string hash, digest_.finish());
    return hash == file_.etag;
  }

  Status publish() {
    const std::string blob = cache_.blob_path(file_);
    if (::fsync(descriptor_) != 0) return cache_error(path_, "cannot write to disk");
    if (std::rename(path_.c_str(), blob.c_str()) != 0) return cache_error(blob, "cannot rename to");
    return sync_folder(blob.substr(0, blob.rfind('/')));
  }

  void report() const {
    if (progress_) progress_({.file_bytes = on_disk_, .received_bytes = received_});
  }

  HubClient& hub_;
  const HubRevision& revision_;
  const HubCache& cache_;
  const HubFile& file_;
  const BlobProgressCallback& progress_;
  const std::string path_;
  BlobDigest digest_;
  int descriptor_ = -1;
  int64_t on_disk_ = 0;  // received and hashed
  int64_t received_ = 0;
  int64_t furthest_ = 0;  // on_disk_ at the last progress
  bool resumed_ = false;  // a part is older than this connection
};

}  // namespace

Result<int64_t> download_blob(HubClient& hub, const HubRevision& revision, const HubCache& cache,
                              const HubFile& file, const BlobProgressCallback& progress) {
  if (cache.has_blob(file)) return 0;
  ASSIGN_OR_RETURN(
      const BlobLock lock, BlobLock::acquire(cache.lock_path(file), hub.retry_options().stop, [&] {
        if (hub.note()) {
          hub.note()(file.path + ": another process downloads it; waiting for that to end");
        }
      }));
  if (cache.has_blob(file)) return 0;  // the other one finished
  BlobDownload download(hub, revision, cache, file, progress);
  const Status status = download.run();
  if (!status.ok()) return status;
  return download.received();
}

}  // namespace sparrow
