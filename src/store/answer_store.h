#pragma once
// AnswerStore: finished answers by key, in one SQLite file. A key is found only when all its bytes
// are equal (the hash only finds the row), the answer is not older than the time to live, and its
// checksum is right. Bounded in bytes: the owner that holds most gives way first, its least
// recently used answer before others; what the operator listed gives way only to his own list.
//
//   AnswerStore store(options);
//   store.open(now_s);                       // also happens by itself, at put()
//   auto value = store.find(key, now_s);     // a few microseconds
//   store.put({.owner = tenant, .key = key, .value = value}, now_s);
//
// Nothing that happens to the file is an error of the caller's: a file that cannot be read or
// written switches the store off for retry_after_s, with one log line; a damaged one is moved to
// PATH.damaged and a new one begun; a file of something else is never touched. Several processes
// may share the file. After kill -9 it holds whole answers only.
//
// Thread-safe. put() may wait for the disk and for other processes; find() only reads, and never
// waits for a put(). Times are seconds since 1970.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow {

struct AnswerStoreOptions {
  std::string path;
  int64_t max_bytes = 256 << 20;        // keys, values and what the file needs beside them
  int64_t max_entry_bytes = 256 << 10;  // key and value of one answer
  int64_t ttl_s = 7 * 86400;            // 0: for ever
  int64_t retry_after_s = 60;
  int hash_bits = 128;  // fewer make keys collide: for tests
};

struct AnswerEntry {
  std::string owner;  // tenant; its share is counted by this name
  bool listed = false;
  std::string label;  // for people; "" = none
  std::string key;
  std::string value;
};

struct PutOutcome {
  bool stored = false;
  int64_t num_evicted = 0;  // to make room; expired ones are not counted
  int64_t bytes = 0;        // held now; valid when stored
};

struct AnswerStoreStats {
  int64_t num_answers = 0;
  int64_t num_listed = 0;
  int64_t bytes = 0;
  int64_t oldest_s = 0;  // when the oldest was stored; 0: there is none
};

struct AnswerRow {
  std::string owner;
  bool listed = false;
  std::string label;
  int64_t created_s = 0;
  int64_t bytes = 0;
};

// Empty when this build has SQLite, else what is missing and how to get it.
std::string answer_store_missing();

class AnswerStore {
 public:
  explicit AnswerStore(AnswerStoreOptions options);
  ~AnswerStore();

  // Opens or creates the file now. The error is for a person who asked; the store itself tries
  // again.
  Status open(int64_t now_s);
  std::optional<std::string> find(std::string_view key, int64_t now_s);
  PutOutcome put(const AnswerEntry& entry, int64_t now_s);
  // False while nothing can be stored.
  bool is_writable(int64_t now_s) const;

  Result<AnswerStoreStats> stats();
  // Newest first.
  Status list(int64_t max_rows, const std::function<void(const AnswerRow&)>& visit);
  // Removes everything and gives the room back to the disk.
  Status clear();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sparrow
