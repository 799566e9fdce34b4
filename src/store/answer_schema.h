#pragma once
// The tables of the answer cache's file, version 1, and whether a file has exactly these.
// Stateless.

#include "base/sip_hash.h"
#include "store/sqlite_db.h"

namespace sparrow {

enum class SchemaState {
  kReady,
  kForeign,  // another program's database, or a newer version's
  kDamaged,  // ours, but not as we make it
  kFailed,   // see the database's error
};

// Makes the tables when there are none.
SchemaState prepare_answer_schema(SqlDatabase& database);
// The file's own secret of the hash. False: see the database's error.
bool read_hash_secret(SqlDatabase& database, SipKey& secret);

}  // namespace sparrow
