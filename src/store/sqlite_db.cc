#include "store/sqlite_db.h"

#include <sqlite3.h>

namespace sparrow {
namespace {

SqlError classify(int code) {
  switch (code & 0xFF) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
      return SqlError::kNone;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_TOOBIG:    // longer than anything of ours
    case SQLITE_MISMATCH:  // types and columns are ours as well
    case SQLITE_ERROR:     // as is every statement
      return SqlError::kDamaged;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return SqlError::kBusy;
    case SQLITE_FULL:
      return SqlError::kFull;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return SqlError::kReadOnly;
    default:
      return SqlError::kOther;
  }
}

}  // namespace

bool SqlDatabase::note(int code) {
  const SqlError error = classify(code);
  if (error == SqlError::kNone) return true;
  if (error_ == SqlError::kNone) {
    error_ = error;
    message_ = sqlite3_errstr(code);
  }
  return false;
}

bool SqlDatabase::open(const std::string& path, int busy_timeout_ms, int max_value_bytes) {
  close();
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
  const int code = sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr);
  if (!note(code)) {
    close();
    return false;
  }
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_busy_timeout(handle_, busy_timeout_ms);
  // What a hostile file could ask for is bounded, and its schema runs nothing.
  sqlite3_limit(handle_, SQLITE_LIMIT_LENGTH, max_value_bytes);
  sqlite3_limit(handle_, SQLITE_LIMIT_WORKER_THREADS, 0);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return execute("PRAGMA cell_size_check = ON");
}

void SqlDatabase::close() {
  sqlite3_close_v2(handle_);
  handle_ = nullptr;
}

bool SqlDatabase::execute(const char* sql) {
  return note(sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr));
}

int64_t SqlDatabase::query_integer(const char* sql) {
  SqlStatement statement;
  return statement.prepare(*this, sql) && statement.next() ? statement.integer(0) : 0;
}

bool SqlDatabase::in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }

SqlError SqlDatabase::take_error() {
  const SqlError error = error_;
  error_ = SqlError::kNone;
  return error;
}

bool SqlStatement::prepare(SqlDatabase& database, const char* sql) {
  finalize();
  database_ = &database;
  return database.note(
      sqlite3_prepare_v3(database.handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle_, nullptr));
}

void SqlStatement::finalize() {
  sqlite3_finalize(handle_);
  handle_ = nullptr;
}

void SqlStatement::bind_integer(int index, int64_t value) {
  database_->note(sqlite3_bind_int64(handle_, index, value));
}

void SqlStatement::bind_text(int index, std::string_view text) {
  const char* data = text.empty() ? "" : text.data();
  database_->note(
      sqlite3_bind_text64(handle_, index, data, text.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void SqlStatement::bind_blob(int index, std::string_view bytes) {
  // A null pointer would bind NULL, not an empty value.
  const char* data = bytes.empty() ? "" : bytes.data();
  database_->note(sqlite3_bind_blob64(handle_, index, data, bytes.size(), SQLITE_STATIC));
}

bool SqlStatement::next() {
  const int code = sqlite3_step(handle_);
  return database_->note(code) && code == SQLITE_ROW;
}

bool SqlStatement::run() {
  while (next()) {
  }
  reset();
  return !database_->failed();
}

void SqlStatement::reset() {
  if (handle_ == nullptr) return;
  sqlite3_reset(handle_);
  sqlite3_clear_bindings(handle_);
}

int64_t SqlStatement::integer(int column) const { return sqlite3_column_int64(handle_, column); }

std::string_view SqlStatement::bytes(int column) const {
  const void* data = sqlite3_column_blob(handle_, column);
  const int size = sqlite3_column_bytes(handle_, column);
  if (data == nullptr || size <= 0) return {};
  return {static_cast<const char*>(data), static_cast<size_t>(size)};
}

}  // namespace sparrow
