#pragma once
// pull_model: a model from a Hugging Face hub into the local cache, in the layout that
// huggingface_hub and model/model_locator.h read. Downloads go on where an earlier run stopped; a
// model becomes visible (links, then refs) only when every file of it is there and checked. The
// server is not trusted: names, sizes and hashes are checked, every answer is bounded.
//
// Sizes in bytes. Blocks for as long as the network takes; one thread, which also gets the calls
// back. Nothing is printed. Without libcurl and OpenSSL at build time every call says so.

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"

namespace sparrow {

struct PullOptions {
  std::string id;  // as typed; tools/pull/hub_id.h says what is understood
  std::string revision = "main";
  std::string gguf;       // only this file; empty: the safetensors model
  std::string cache_dir;  // empty: the first of hub_cache_directories()
  double first_retry_wait_s = 1;
  const std::atomic<bool>* stop = nullptr;  // set by a signal: ends within a second or so
};

struct PullProgress {
  std::string file;            // path in the repository
  int64_t done_bytes = 0;      // of all files, on disk
  int64_t total_bytes = 0;     // of all files
  int64_t received_bytes = 0;  // over the network in this call
};

struct PullEvents {
  std::function<void(const PullProgress&)> progress;
  std::function<void(const std::string&)> note;  // a line: waiting, trying again, another name
};

struct PulledFile {
  std::string path;
  int64_t bytes = 0;
  int64_t received_bytes = 0;
};

struct PullSummary {
  std::string id;        // as the hub spells it
  std::string revision;  // as asked for
  std::string commit;
  std::string path;  // what --model takes: the snapshot, or the .gguf file in it
  std::vector<PulledFile> files;
  int64_t total_bytes = 0;
  int64_t received_bytes = 0;
};

// kCancelled when stopped; kUnavailable when the hub cannot be reached. What was received stays.
Result<PullSummary> pull_model(const PullOptions& options, const PullEvents& events);

struct PullCheck {
  std::string id;
  std::string commit;         // the revision's, on the hub
  std::string cached_commit;  // the one in the cache; empty: none
};

// Asks only what the newest commit is.
Result<PullCheck> check_model(const PullOptions& options, const PullEvents& events);

}  // namespace sparrow
