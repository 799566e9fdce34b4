#pragma once
// download_blob: one file of a repository into the cache: on from where an earlier run stopped,
// under a lock that other processes respect, checked by size and hash before it gets its name.
// Whatever ends it (a signal, kill -9, a broken line) leaves what was received. Blocks; one thread.

#include <atomic>
#include <cstdint>
#include <functional>

#include "base/status.h"
#include "tools/pull/hub_cache.h"
#include "tools/pull/hub_client.h"

namespace sparrow {

struct BlobProgress {
  int64_t file_bytes = 0;      // of the file, on disk
  int64_t received_bytes = 0;  // over the network in this call
};
using BlobProgressCallback = std::function<void(const BlobProgress&)>;

// Returns the bytes received over the network; 0 when the blob was there.
Result<int64_t> download_blob(HubClient& hub, const HubRevision& revision, const HubCache& cache,
                              const HubFile& file, const BlobProgressCallback& progress);

}  // namespace sparrow
