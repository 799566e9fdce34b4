#pragma once
// SqlDatabase, SqlStatement: one SQLite connection and its prepared statements, without exceptions.
// The first error stays in the connection until take_error(): callers run a series of steps and ask
// once. Neither is thread-safe; a statement must not outlive its connection being open. SQLite is
// named in this file's .cc only.

#include <cstdint>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace sparrow {

enum class SqlError {
  kNone,
  kDamaged,   // the file contradicts itself, or is no database
  kBusy,      // another process holds it
  kFull,      // no room on the disk, or the file may not grow
  kReadOnly,  // file or disk cannot be written
  kOther,     // input/output errors, no memory
};

class SqlDatabase {
 public:
  SqlDatabase() = default;
  ~SqlDatabase() { close(); }
  SqlDatabase(const SqlDatabase&) = delete;
  SqlDatabase& operator=(const SqlDatabase&) = delete;

  // The file exists, or is ":memory:". No value in it may be longer than max_value_bytes.
  bool open(const std::string& path, int busy_timeout_ms, int max_value_bytes);
  void close();
  bool is_open() const { return handle_ != nullptr; }

  bool execute(const char* sql);
  // The integer in the first column of the first row; 0 without one.
  int64_t query_integer(const char* sql);
  bool in_transaction() const;

  bool failed() const { return error_ != SqlError::kNone; }
  SqlError take_error();
  // What the last failed call said.
  const std::string& message() const { return message_; }

 private:
  friend class SqlStatement;
  bool note(int code);

  sqlite3* handle_ = nullptr;
  SqlError error_ = SqlError::kNone;
  std::string message_;
};

class SqlStatement {
 public:
  SqlStatement() = default;
  ~SqlStatement() { finalize(); }
  SqlStatement(const SqlStatement&) = delete;
  SqlStatement& operator=(const SqlStatement&) = delete;

  bool prepare(SqlDatabase& database, const char* sql);
  void finalize();

  // Parameters count from 1, columns from 0. Bound text must live until reset().
  void bind_integer(int index, int64_t value);
  void bind_text(int index, std::string_view text);
  void bind_blob(int index, std::string_view bytes);
  // True: a row is there. False: done, or failed (see the database).
  bool next();
  // Runs to the end and resets.
  bool run();
  void reset();

  int64_t integer(int column) const;
  // Valid until the next next() or reset().
  std::string_view bytes(int column) const;

 private:
  SqlDatabase* database_ = nullptr;
  sqlite3_stmt* handle_ = nullptr;
};

}  // namespace sparrow
