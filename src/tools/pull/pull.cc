#include "tools/pull/pull.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "model/files/hf_config.h"
#include "model/model_locator.h"
#include "tools/pull/blob_download.h"
#include "tools/pull/hub_cache.h"
#include "tools/pull/hub_client.h"
#include "tools/pull/hub_id.h"

namespace sparrow {
namespace {

Result<std::string> cache_root(const PullOptions& options) {
  std::string root = options.cache_dir;
  if (root.empty()) {
    const std::vector<std::string> directories = hub_cache_directories();
    if (directories.empty()) {
      return failed_precondition("no cache folder: set HOME or HF_HUB_CACHE, or give --cache-dir");
    }
    root = directories.front();
  }
  std::error_code error;
  const std::filesystem::path path = std::filesystem::absolute(root, error);
  return error ? root : path.lexically_normal().string();
}

// One pull: what was found out so far, and how far it got.
class Pull {
 public:
  Pull(const PullOptions& options, const PullEvents& events, HubAccess access)
      : options_(options),
        events_(events),
        hub_(std::move(access), {.first_wait_s = options.first_retry_wait_s, .stop = options.stop},
             events.note) {}

  Status find(const std::string& id) {
    ASSIGN_OR_RETURN(revision_, hub_.find_revision(id, options_.revision));
    if (revision_.id != id && events_.note) {
      events_.note(fmt::format("{} is {} there", id, revision_.id));
    }
    return ok_status();
  }

  const HubRevision& revision() const { return revision_; }

  Result<PullSummary> run(const std::string& root) {
    ASSIGN_OR_RETURN(const std::vector<HubFile> all, hub_.list_files(revision_));
    ASSIGN_OR_RETURN(const std::vector<HubFile> files, select_files(all, options_.gguf));
    const HubCache cache(root, revision_.id);
    RETURN_IF_ERROR(make_room(cache, files));
    for (const HubFile& file : files) RETURN_IF_ERROR(fetch(cache, file));
    RETURN_IF_ERROR(show(cache, files));
    return summary(cache);
  }

 private:
  // Plans, and refuses before the first byte when the disk is too small.
  Status make_room(const HubCache& cache, const std::vector<HubFile>& files) {
    int64_t missing = 0;
    bool writes = false;
    for (const HubFile& file : files) {
      total_bytes_ += file.size;
      if (cache.has_blob(file)) continue;
      writes = true;
      missing += file.size - cache.incomplete_bytes(file);
    }
    // A complete model in a read-only cache needs nothing.
    if (!writes) return ok_status();
    RETURN_IF_ERROR(cache.prepare());
    ASSIGN_OR_RETURN(const int64_t available, cache.free_bytes());
    return check_free_space(cache.folder(), missing, available);
  }

  Status fetch(const HubCache& cache, const HubFile& file) {
    const auto report = [&](const BlobProgress& now) {
      if (!events_.progress) return;
      events_.progress({.file = file.path,
                        .done_bytes = done_bytes_ + now.file_bytes,
                        .total_bytes = total_bytes_,
                        .received_bytes = received_bytes_ + now.received_bytes});
    };
    ASSIGN_OR_RETURN(const int64_t received, download_blob(hub_, revision_, cache, file, report));
    // The config is among the first and smallest: a model we cannot run costs no gigabytes.
    if (file.path == "config.json") {
      const Result<ModelConfig> config = read_hf_config(cache.blob_path(file));
      if (!config.ok()) {
        return Status(config.status().code(), fmt::format("{} is not a model Sparrow runs: {}",
                                                          revision_.id, config.message()));
      }
    }
    done_bytes_ += file.size;
    received_bytes_ += received;
    files_.push_back({file.path, file.size, received});
    return ok_status();
  }

  // Links every file, the config last (its presence makes a model), then the ref.
  Status show(const HubCache& cache, const std::vector<HubFile>& files) const {
    const HubFile* config = nullptr;
    for (const HubFile& file : files) {
      if (file.path == "config.json") {
        config = &file;
      } else {
        RETURN_IF_ERROR(cache.link(revision_.commit, file));
      }
    }
    if (config != nullptr) RETURN_IF_ERROR(cache.link(revision_.commit, *config));
    return cache.write_ref(options_.revision, revision_.commit);
  }

  PullSummary summary(const HubCache& cache) {
    PullSummary out;
    out.id = revision_.id;
    out.revision = options_.revision;
    out.commit = revision_.commit;
    out.path = cache.snapshot_path(revision_.commit);
    if (!options_.gguf.empty()) out.path += "/" + options_.gguf;
    out.files = std::move(files_);
    out.total_bytes = total_bytes_;
    out.received_bytes = received_bytes_;
    return out;
  }

  const PullOptions& options_;
  const PullEvents& events_;
  HubClient hub_;
  HubRevision revision_;
  std::vector<PulledFile> files_;
  int64_t total_bytes_ = 0;
  int64_t done_bytes_ = 0;
  int64_t received_bytes_ = 0;
};

Result<std::string> checked_id(const PullOptions& options) {
  if (!is_hub_revision(options.revision)) {
    return invalid_argument(
        fmt::format("--revision '{}': expected a branch, a tag or a commit", options.revision));
  }
  return parse_hub_id(options.id);
}

}  // namespace

Result<PullSummary> pull_model(const PullOptions& options, const PullEvents& events) {
  ASSIGN_OR_RETURN(const std::string id, checked_id(options));
  ASSIGN_OR_RETURN(const std::string root, cache_root(options));
  ASSIGN_OR_RETURN(HubAccess access, hub_access_from_environment());
  Pull pull(options, events, std::move(access));
  RETURN_IF_ERROR(pull.find(id));
  return pull.run(root);
}

Result<PullCheck> check_model(const PullOptions& options, const PullEvents& events) {
  ASSIGN_OR_RETURN(const std::string id, checked_id(options));
  ASSIGN_OR_RETURN(const std::string root, cache_root(options));
  ASSIGN_OR_RETURN(HubAccess access, hub_access_from_environment());
  Pull pull(options, events, std::move(access));
  RETURN_IF_ERROR(pull.find(id));
  const HubRevision& found = pull.revision();
  return PullCheck{found.id, found.commit, HubCache(root, found.id).read_ref(options.revision)};
}

}  // namespace sparrow
