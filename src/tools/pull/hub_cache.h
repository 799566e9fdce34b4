#pragma once
// HubCache: one model's folder in the Hugging Face cache layout, shared with huggingface_hub:
//   models--ORG--NAME/blobs/<etag>               contents
//   models--ORG--NAME/snapshots/<commit>/<file>  relative links to them
//   models--ORG--NAME/refs/<revision>            a commit
//   .locks/models--ORG--NAME/<etag>.lock         flock of whoever downloads that blob
// Our own is blobs/<etag>.sparrow.incomplete, a blob on its way: never deleted by others, so the
// next run goes on with it. Nothing is created before prepare(). Errors name the path and say what
// to do on a read-only or full disk. Several processes may work on one cache.

#include <atomic>
#include <functional>
#include <string>

#include "base/status.h"
#include "tools/pull/file_list.h"

namespace sparrow {

class HubCache {
 public:
  // `root` is the folder that holds models--*; `id` as the hub spells it.
  HubCache(std::string root, const std::string& id);

  const std::string& root() const { return root_; }
  const std::string& folder() const { return folder_; }
  std::string blob_path(const HubFile& file) const { return folder_ + "/blobs/" + file.etag; }
  std::string incomplete_path(const HubFile& file) const {
    return blob_path(file) + ".sparrow.incomplete";
  }
  std::string lock_path(const HubFile& file) const { return locks_ + "/" + file.etag + ".lock"; }
  std::string snapshot_path(const std::string& commit) const {
    return folder_ + "/snapshots/" + commit;
  }

  // The folders, and CACHEDIR.TAG for backup programs.
  Status prepare() const;

  // The blob is there in its full size. Contents are checked before a blob gets its name.
  bool has_blob(const HubFile& file) const;
  int64_t incomplete_bytes(const HubFile& file) const;
  // Room for a user without privileges.
  Result<int64_t> free_bytes() const;

  // snapshots/<commit>/<path> -> the blob; what is right already is left alone.
  Status link(const std::string& commit, const HubFile& file) const;
  bool is_linked(const std::string& commit, const HubFile& file) const;
  // The commit a revision had when it was pulled; empty when it never was.
  std::string read_ref(const std::string& revision) const;
  Status write_ref(const std::string& revision, const std::string& commit) const;

 private:
  const std::string root_;
  const std::string folder_;
  const std::string locks_;
};

// Holds the lock file of one blob until it goes out of scope. Move-only.
class BlobLock {
 public:
  // Waits while another process holds it; calls `waiting` once if that takes time. kCancelled when
  // stopped meanwhile.
  static Result<BlobLock> acquire(const std::string& path, const std::atomic<bool>* stop,
                                  const std::function<void()>& waiting);
  ~BlobLock();
  BlobLock(BlobLock&& other) noexcept;
  BlobLock& operator=(BlobLock&&) = delete;

 private:
  explicit BlobLock(int file) : file_(file) {}
  int file_ = -1;
};

// "PATH: WHAT: strerror; what to do" for the current errno.
Status cache_error(const std::string& path, const char* what);
// Makes a rename in this folder survive a power failure.
Status sync_folder(const std::string& path);

// Refuses when fewer than `needed` bytes and a small reserve are free in `folder`.
Status check_free_space(const std::string& folder, int64_t needed, int64_t available);

}  // namespace sparrow
