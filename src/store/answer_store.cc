#include "store/answer_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <system_error>
#include <vector>

#include "base/log.h"
#include "store/answer_schema.h"

namespace sparrow {
namespace {

constexpr std::string_view kMagic("SQLite format 3\0", 16);
constexpr int kWriterBusyMs = 2000;   // another process may be storing
constexpr size_t kMaxTouched = 1024;  // uses remembered between two puts
constexpr int64_t kPageBytes = 4096;
constexpr int64_t kPageRoomBytes = 4061;    // of one row inside a page, the rest goes to own pages
constexpr int64_t kRowOverheadBytes = 256;  // small columns and the row's part of three indexes
constexpr int64_t kMaxSaneBytes = int64_t{1} << 50;
constexpr int64_t kMaxSaneUses = int64_t{1} << 60;
constexpr int64_t kClockSlackS = 86400;  // an answer from further in the future is not believed

// What a row takes in the file: as many as fit share a page, a long one has pages of its own.
int64_t room_of(const AnswerEntry& entry) {
  const auto payload = static_cast<int64_t>(entry.key.size() + entry.value.size() +
                                            entry.owner.size() + entry.label.size()) +
                       kRowOverheadBytes / 2;
  const int64_t in_pages = payload > kPageRoomBytes ? (payload / kPageBytes + 2) * kPageBytes
                                                    : kPageBytes / (kPageRoomBytes / payload);
  return in_pages + kRowOverheadBytes / 2;
}

std::string_view as_bytes(const Hash128& hash) {
  return {reinterpret_cast<const char*>(&hash), sizeof(hash)};
}

// A checksum under the key's own hash: a value moved to another row does not pass.
SipKey key_of(const Hash128& hash) { return {hash.low, hash.high}; }

Hash128 shortened(Hash128 hash, int bits) {
  const auto mask = [](int count) {
    return count >= 64 ? ~uint64_t{0} : count <= 0 ? 0 : (uint64_t{1} << count) - 1;
  };
  return {hash.low & mask(bits), hash.high & mask(bits - 64)};
}

Status errno_status(const std::string& path, const char* what) {
  return failed_precondition(
      fmt::format("{} cannot be {}: {}", path, what, std::generic_category().message(errno)));
}

// Makes the file (answers are private: mode 0600), or looks whether it may be ours at all.
Status claim_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 && (errno == EROFS || errno == EACCES)) {  // perhaps it can still be read
    const int readable = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (readable < 0) return errno_status(path, "opened");
    ::close(readable);
    return ok_status();
  }
  if (fd < 0) return errno_status(path, "opened");
  char head[16] = {};
  const ssize_t count = ::pread(fd, head, sizeof(head), 0);
  ::close(fd);
  if (count < 0) return errno_status(path, "read");
  if (count == 0 || std::string_view(head, static_cast<size_t>(count)) ==
                        kMagic.substr(0, static_cast<size_t>(count))) {
    return ok_status();
  }
  return failed_precondition(fmt::format(
      "{} is not an answer cache and is left alone: name another file, or remove it", path));
}

Status status_of(SqlError error, const std::string& path, const std::string& message) {
  switch (error) {
    case SqlError::kBusy:
      return unavailable(fmt::format("{} is held by another program", path));
    case SqlError::kFull:
      return resource_exhausted(fmt::format("no room to write {} ({})", path, message));
    case SqlError::kReadOnly:
      return failed_precondition(fmt::format("{} cannot be written ({})", path, message));
    case SqlError::kDamaged:
      return data_loss(fmt::format("{} is damaged ({})", path, message));
    default:
      return unavailable(fmt::format("{}: {}", path, message));
  }
}

}  // namespace

struct AnswerStore::Impl {
  explicit Impl(AnswerStoreOptions given) : options(std::move(given)) {}

  Status open_files();
  Status open_once(bool& damaged_file);
  void prepare_statements();
  void close_files();
  void close_writer();
  bool move_aside(const std::string& why);
  bool ready(int64_t now_s);
  void switch_off(int64_t now_s, const Status& why);
  void switch_on();
  void write(const AnswerEntry& entry, int64_t now_s, PutOutcome& outcome);
  bool make_room(const AnswerEntry& entry, int64_t bytes, PutOutcome& outcome);
  bool evict_one(bool may_evict_listed);
  void mark_uses();
  void remove_old(const Hash128& hash, int64_t now_s);
  bool expired(int64_t created_s, int64_t now_s) const {
    if (created_s > now_s + kClockSlackS) return true;
    return options.ttl_s > 0 && created_s + options.ttl_s <= now_s;
  }

  const AnswerStoreOptions options;
  std::atomic<bool> damaged{false};
  std::atomic<int64_t> writes_off_until_s{0};
  std::atomic<int64_t> reads_off_until_s{0};

  std::mutex write_mutex;  // taken before read_mutex
  SqlDatabase writer;
  SqlStatement touch, remove_hash, remove_expired, sum, sum_listed, largest, oldest, remove_id,
      insert;
  int64_t use_clock = 0;
  int64_t free_id = 0;  // of a row just removed: the next one fills its place in the file
  bool told = false;    // that it is off

  std::mutex read_mutex;
  SqlDatabase reader;
  SqlStatement lookup;
  SipKey secret{};  // written under both
  std::vector<int64_t> touched;
};

void AnswerStore::Impl::close_writer() {
  for (SqlStatement* one : {&touch, &remove_hash, &remove_expired, &sum, &sum_listed, &largest,
                            &oldest, &remove_id, &insert}) {
    one->finalize();
  }
  writer.close();
  writer.take_error();
}

void AnswerStore::Impl::close_files() {
  close_writer();
  std::lock_guard lock(read_mutex);
  lookup.finalize();
  reader.close();
  reader.take_error();
  touched.clear();
}

void AnswerStore::Impl::prepare_statements() {
  touch.prepare(writer, "UPDATE answers SET used = ? WHERE id = ?");
  remove_hash.prepare(writer, "DELETE FROM answers WHERE hash = ?");
  remove_expired.prepare(writer,
                         "DELETE FROM answers WHERE id IN (SELECT id FROM answers WHERE "
                         "created <= ? ORDER BY created LIMIT 64)");
  sum.prepare(writer, "SELECT coalesce(sum(bytes), 0) FROM owners");
  sum_listed.prepare(writer, "SELECT coalesce(sum(bytes), 0) FROM owners WHERE listed = 1");
  largest.prepare(writer,
                  "SELECT owner, listed FROM owners WHERE listed <= ? ORDER BY listed, bytes DESC "
                  "LIMIT 1");
  oldest.prepare(writer,
                 "SELECT id FROM answers WHERE owner = ? AND listed = ? ORDER BY used LIMIT 1");
  remove_id.prepare(writer, "DELETE FROM answers WHERE id = ?");
  insert.prepare(writer, "INSERT INTO answers VALUES(nullif(?, 0), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  lookup.prepare(reader, "SELECT id, created, key, value, checksum FROM answers WHERE hash = ?");
}

Status AnswerStore::Impl::open_once(bool& damaged_file) {
  close_files();
  RETURN_IF_ERROR(claim_file(options.path));
  const auto max_value = static_cast<int>(2 * options.max_entry_bytes + (1 << 20));
  SchemaState state = SchemaState::kFailed;
  if (writer.open(options.path, kWriterBusyMs, max_value)) state = prepare_answer_schema(writer);
  if (state == SchemaState::kForeign) {
    return failed_precondition(fmt::format(
        "{} belongs to another program, or to a newer version of this one, and is left alone: "
        "name another file",
        options.path));
  }
  std::lock_guard lock(read_mutex);
  if (state == SchemaState::kReady) {
    writer.execute("PRAGMA journal_mode = WAL");
    writer.execute("PRAGMA synchronous = NORMAL");  // a crash may lose the last answers, no more
    writer.execute("PRAGMA journal_size_limit = 8388608");
    // A second bound, should the sums ever be wrong.
    const int64_t max_pages = (2 * options.max_bytes + (8 << 20)) / kPageBytes;
    writer.execute(fmt::format("PRAGMA max_page_count = {}", max_pages).c_str());
    use_clock = writer.query_integer("SELECT max(used) FROM answers");
    const bool sane = use_clock >= 0 && use_clock < kMaxSaneUses;
    if (!read_hash_secret(writer, secret) || !sane) state = SchemaState::kDamaged;
    reader.open(options.path, 0, max_value);
    reader.execute("PRAGMA query_only = ON");
    prepare_statements();
  }
  std::string message = writer.failed() ? writer.message() : reader.message();
  SqlError error = writer.take_error();
  const SqlError read_error = reader.take_error();
  if (error == SqlError::kNone) error = read_error;
  if (state == SchemaState::kDamaged) {
    error = SqlError::kDamaged;
    message = "its tables are not ours";
  }
  damaged_file = error == SqlError::kDamaged;
  return error == SqlError::kNone ? ok_status() : status_of(error, options.path, message);
}

Status AnswerStore::Impl::open_files() {
  bool damaged_file = false;
  Status status = open_once(damaged_file);
  if (damaged_file && move_aside(status.message())) status = open_once(damaged_file);
  if (!status.ok()) close_files();
  damaged = false;
  return status;
}

// One file is kept for whoever wants to look; an earlier one is replaced.
bool AnswerStore::Impl::move_aside(const std::string& why) {
  close_files();
  const std::string aside = options.path + ".damaged";
  if (std::rename(options.path.c_str(), aside.c_str()) != 0) return false;
  std::rename((options.path + "-wal").c_str(), (aside + "-wal").c_str());
  ::unlink((options.path + "-shm").c_str());
  ::unlink((options.path + "-journal").c_str());
  log_warning("Answer cache: {}; it was moved to {} and a new one is begun", why, aside);
  return true;
}

void AnswerStore::Impl::switch_off(int64_t now_s, const Status& why) {
  writes_off_until_s = now_s + options.retry_after_s;
  if (std::exchange(told, true)) return;
  log_warning("Answer cache: {}. Nothing is stored for now; trying again every {} s", why.message(),
              options.retry_after_s);
}

void AnswerStore::Impl::switch_on() {
  writes_off_until_s = 0;
  reads_off_until_s = 0;
  if (std::exchange(told, false)) log_info("Answer cache: {} is in use again", options.path);
}

bool AnswerStore::Impl::ready(int64_t now_s) {
  if (now_s < writes_off_until_s) return false;
  if (damaged && !move_aside(options.path + " is damaged")) {
    switch_off(now_s, errno_status(options.path, "moved aside"));
    return false;
  }
  if (writer.is_open()) return true;
  const Status status = open_files();
  if (!status.ok()) switch_off(now_s, status);
  return status.ok();
}

void AnswerStore::Impl::mark_uses() {
  std::vector<int64_t> ids;
  {
    std::lock_guard lock(read_mutex);
    ids.swap(touched);
  }
  for (const int64_t id : ids) {
    touch.bind_integer(1, ++use_clock);
    touch.bind_integer(2, id);
    if (!touch.run()) return;
  }
}

void AnswerStore::Impl::remove_old(const Hash128& hash, int64_t now_s) {
  remove_hash.bind_blob(1, as_bytes(hash));
  remove_hash.run();
  if (options.ttl_s == 0 || writer.failed()) return;
  remove_expired.bind_integer(1, now_s - options.ttl_s);
  remove_expired.run();
}

bool AnswerStore::Impl::evict_one(bool may_evict_listed) {
  largest.bind_integer(1, may_evict_listed ? 1 : 0);
  int64_t id = 0;
  if (largest.next()) {
    const std::string owner(largest.bytes(0));
    oldest.bind_text(1, owner);
    oldest.bind_integer(2, largest.integer(1));
    if (oldest.next()) id = oldest.integer(0);
    oldest.reset();
  }
  largest.reset();
  if (id == 0) return false;
  remove_id.bind_integer(1, id);
  free_id = id;
  return remove_id.run();
}

// False: it does not fit without what is kept from it, or the sums are wrong.
bool AnswerStore::Impl::make_room(const AnswerEntry& entry, int64_t bytes, PutOutcome& outcome) {
  const auto read_sum = [](SqlStatement& statement) {
    const int64_t value = statement.next() ? statement.integer(0) : -1;
    statement.reset();
    return value;
  };
  if (!entry.listed && read_sum(sum_listed) > options.max_bytes - bytes) return false;
  while (true) {
    const int64_t total = read_sum(sum);
    if (writer.failed()) return false;
    const bool sane = total >= 0 && total < kMaxSaneBytes;
    if (sane && total <= options.max_bytes - bytes) {
      outcome.bytes = total + bytes;
      return true;
    }
    if (!sane || !evict_one(entry.listed)) {
      damaged = !writer.failed();
      return false;
    }
    ++outcome.num_evicted;
  }
}

void AnswerStore::Impl::write(const AnswerEntry& entry, int64_t now_s, PutOutcome& outcome) {
  const Hash128 full_hash = sip_hash(secret, entry.key);
  const Hash128 hash = shortened(full_hash, options.hash_bits);
  const Hash128 checksum = sip_hash(key_of(full_hash), entry.value);
  const int64_t bytes = room_of(entry);
  if (bytes > options.max_bytes) return;
  if (!writer.execute("BEGIN IMMEDIATE")) return;
  free_id = 0;
  mark_uses();
  if (!writer.failed()) remove_old(hash, now_s);
  if (writer.failed() || !make_room(entry, bytes, outcome)) {
    outcome.num_evicted = 0;
    return;  // rolled back by the caller
  }
  int index = 0;
  insert.bind_integer(++index, free_id);
  insert.bind_blob(++index, as_bytes(hash));
  insert.bind_text(++index, entry.owner);
  insert.bind_integer(++index, entry.listed ? 1 : 0);
  insert.bind_text(++index, entry.label);
  insert.bind_integer(++index, now_s);
  insert.bind_integer(++index, ++use_clock);
  insert.bind_integer(++index, bytes);
  insert.bind_blob(++index, as_bytes(checksum));
  insert.bind_blob(++index, entry.key);
  insert.bind_blob(++index, entry.value);
  insert.run();
  if (!writer.failed()) outcome.stored = writer.execute("COMMIT");
}

std::string answer_store_missing() { return {}; }

AnswerStore::AnswerStore(AnswerStoreOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}

AnswerStore::~AnswerStore() {
  std::lock_guard lock(impl_->write_mutex);
  impl_->close_files();
}

Status AnswerStore::open(int64_t now_s) {
  std::lock_guard lock(impl_->write_mutex);
  if (impl_->writer.is_open()) return ok_status();
  const Status status = impl_->open_files();
  status.ok() ? impl_->switch_on() : impl_->switch_off(now_s, status);
  return status;
}

std::optional<std::string> AnswerStore::find(std::string_view key, int64_t now_s) {
  Impl& self = *impl_;
  if (now_s < self.reads_off_until_s || self.damaged) return std::nullopt;
  std::lock_guard lock(self.read_mutex);
  if (!self.reader.is_open()) return std::nullopt;
  const Hash128 full_hash = sip_hash(self.secret, key);
  const Hash128 hash = shortened(full_hash, self.options.hash_bits);
  std::optional<std::string> value;
  self.lookup.bind_blob(1, as_bytes(hash));
  if (self.lookup.next() && self.lookup.bytes(2) == key &&
      !self.expired(self.lookup.integer(1), now_s)) {
    const std::string_view kept = self.lookup.bytes(3);
    if (as_bytes(sip_hash(key_of(full_hash), kept)) == self.lookup.bytes(4)) {
      value.emplace(kept);
      if (self.touched.size() < kMaxTouched) self.touched.push_back(self.lookup.integer(0));
    }
  }
  self.lookup.reset();
  const SqlError error = self.reader.take_error();
  if (error == SqlError::kNone || error == SqlError::kBusy) return value;
  if (error == SqlError::kDamaged) {
    self.damaged = true;
  } else {
    self.reads_off_until_s = now_s + self.options.retry_after_s;
  }
  return std::nullopt;
}

PutOutcome AnswerStore::put(const AnswerEntry& entry, int64_t now_s) {
  Impl& self = *impl_;
  std::lock_guard lock(self.write_mutex);
  const auto size = static_cast<int64_t>(entry.key.size() + entry.value.size());
  if (size > self.options.max_entry_bytes || !self.ready(now_s)) return {};
  PutOutcome outcome;
  self.write(entry, now_s, outcome);
  const std::string message = self.writer.message();
  const SqlError error = self.writer.take_error();
  if (self.writer.in_transaction()) {
    self.writer.execute("ROLLBACK");
    self.writer.take_error();
  }
  if (error == SqlError::kNone) {
    self.switch_on();
    return outcome;
  }
  if (error == SqlError::kDamaged) {
    self.damaged = true;  // the next put() moves it aside
    return {};
  }
  self.switch_off(now_s, status_of(error, self.options.path, message));
  // After an error of input or output the connection is not trusted; reading goes on.
  if (error != SqlError::kBusy && error != SqlError::kFull) self.close_writer();
  return {};
}

bool AnswerStore::is_writable(int64_t now_s) const { return now_s >= impl_->writes_off_until_s; }

Result<AnswerStoreStats> AnswerStore::stats() {
  std::lock_guard lock(impl_->read_mutex);
  SqlDatabase& database = impl_->reader;
  if (!database.is_open()) return unavailable(impl_->options.path + " is not open");
  AnswerStoreStats stats;
  stats.num_answers = database.query_integer("SELECT coalesce(sum(answers), 0) FROM owners");
  stats.num_listed =
      database.query_integer("SELECT coalesce(sum(answers), 0) FROM owners WHERE listed = 1");
  stats.bytes = database.query_integer("SELECT coalesce(sum(bytes), 0) FROM owners");
  stats.oldest_s = database.query_integer("SELECT coalesce(min(created), 0) FROM answers");
  const SqlError error = database.take_error();
  if (error != SqlError::kNone) return status_of(error, impl_->options.path, database.message());
  return stats;
}

Status AnswerStore::list(int64_t max_rows, const std::function<void(const AnswerRow&)>& visit) {
  std::lock_guard lock(impl_->read_mutex);
  SqlDatabase& database = impl_->reader;
  if (!database.is_open()) return unavailable(impl_->options.path + " is not open");
  SqlStatement rows;
  rows.prepare(database,
               "SELECT owner, listed, label, created, bytes FROM answers ORDER BY created DESC, "
               "id DESC LIMIT ?");
  rows.bind_integer(1, max_rows);
  while (rows.next()) {
    visit({.owner = std::string(rows.bytes(0)),
           .listed = rows.integer(1) != 0,
           .label = std::string(rows.bytes(2)),
           .created_s = rows.integer(3),
           .bytes = rows.integer(4)});
  }
  const SqlError error = database.take_error();
  if (error == SqlError::kNone) return ok_status();
  return status_of(error, impl_->options.path, database.message());
}

Status AnswerStore::clear() {
  Impl& self = *impl_;
  std::lock_guard lock(self.write_mutex);
  if (!self.writer.is_open()) return unavailable(self.options.path + " is not open");
  self.writer.execute("DELETE FROM answers");
  self.writer.execute("VACUUM");
  self.writer.query_integer("PRAGMA wal_checkpoint(TRUNCATE)");
  const std::string message = self.writer.message();
  const SqlError error = self.writer.take_error();
  return error == SqlError::kNone ? ok_status() : status_of(error, self.options.path, message);
}

}  // namespace sparrow
