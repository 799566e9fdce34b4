#include "store/answer_schema.h"

#include <cstring>

#include "base/random.h"

namespace sparrow {
namespace {

constexpr int64_t kApplicationId = 0x53704163;  // "SpAc"
constexpr int64_t kVersion = 1;
constexpr int kMaxSchemaBytes = 1 << 20;

// The sums per owner are kept by triggers, so that every process that writes keeps them right.
constexpr const char* kTables = R"(
CREATE TABLE answers(
  id INTEGER PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  listed INTEGER NOT NULL,
  label TEXT NOT NULL,
  created INTEGER NOT NULL,
  used INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  checksum BLOB NOT NULL,
  key BLOB NOT NULL,
  value BLOB NOT NULL);
CREATE INDEX answers_by_use ON answers(owner, listed, used);
CREATE INDEX answers_by_age ON answers(created);
CREATE TABLE owners(
  owner TEXT NOT NULL,
  listed INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  answers INTEGER NOT NULL,
  PRIMARY KEY(owner, listed)) WITHOUT ROWID;
CREATE TABLE secret(id INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TRIGGER answer_added AFTER INSERT ON answers BEGIN
  INSERT INTO owners VALUES(NEW.owner, NEW.listed, NEW.bytes, 1)
    ON CONFLICT DO UPDATE SET bytes = bytes + NEW.bytes, answers = answers + 1;
END;
CREATE TRIGGER answer_removed AFTER DELETE ON answers BEGIN
  UPDATE owners SET bytes = bytes - OLD.bytes, answers = answers - 1
    WHERE owner = OLD.owner AND listed = OLD.listed;
  DELETE FROM owners WHERE owner = OLD.owner AND listed = OLD.listed AND answers <= 0;
END;
)";

constexpr const char* kSchemaText = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name";

std::string schema_text(SqlDatabase& database) {
  std::string text;
  SqlStatement statement;
  if (!statement.prepare(database, kSchemaText)) return text;
  while (statement.next()) {
    for (int column = 0; column < 3; ++column) {
      text += statement.bytes(column);
      text += '\n';
    }
  }
  return text;
}

std::string expected_schema() {
  SqlDatabase memory;
  memory.open(":memory:", 0, kMaxSchemaBytes);
  memory.execute(kTables);
  return schema_text(memory);
}

void insert_secret(SqlDatabase& database) {
  const SipKey secret{entropy64(), entropy64()};
  const std::string_view bytes(reinterpret_cast<const char*>(&secret), sizeof(secret));
  SqlStatement statement;
  if (!statement.prepare(database, "INSERT INTO secret VALUES(1, ?)")) return;
  statement.bind_blob(1, bytes);
  statement.run();
}

// Inside one transaction, and only if nobody else was faster.
void create_tables(SqlDatabase& database) {
  if (!database.execute("BEGIN IMMEDIATE")) return;
  if (database.query_integer("SELECT count(*) FROM sqlite_schema") == 0 && !database.failed()) {
    database.execute(kTables);
    insert_secret(database);
    database.execute("PRAGMA application_id = 1399865699");
    database.execute("PRAGMA user_version = 1");
  }
  database.execute(database.failed() ? "ROLLBACK" : "COMMIT");
}

}  // namespace

SchemaState prepare_answer_schema(SqlDatabase& database) {
  static_assert(kApplicationId == 1399865699 && kVersion == 1, "spelled out in create_tables()");
  const int64_t num_objects = database.query_integer("SELECT count(*) FROM sqlite_schema");
  const int64_t id = database.query_integer("PRAGMA application_id");
  if (!database.failed() && num_objects == 0 && id == 0) create_tables(database);
  if (database.failed()) return SchemaState::kFailed;
  if (database.query_integer("PRAGMA application_id") != kApplicationId) {
    return SchemaState::kForeign;
  }
  const int64_t version = database.query_integer("PRAGMA user_version");
  if (version > kVersion) return SchemaState::kForeign;
  const std::string text = schema_text(database);
  if (database.failed()) return SchemaState::kFailed;
  return version == kVersion && text == expected_schema() ? SchemaState::kReady
                                                          : SchemaState::kDamaged;
}

bool read_hash_secret(SqlDatabase& database, SipKey& secret) {
  SqlStatement statement;
  if (!statement.prepare(database, "SELECT value FROM secret WHERE id = 1")) return false;
  if (!statement.next() || statement.bytes(0).size() != sizeof(secret)) return false;
  std::memcpy(&secret, statement.bytes(0).data(), sizeof(secret));
  return true;
}

}  // namespace sparrow
