// Built instead of answer_store.cc when SQLite was not found: nothing is stored, nothing is found,
// and open() says what is missing.

#include "store/answer_store.h"

namespace sparrow {

std::string answer_store_missing() {
  return "this build has no answer cache: it was configured without SQLite (package "
         "libsqlite3-dev). Run dev/setup.sh and build again";
}

struct AnswerStore::Impl {};

AnswerStore::AnswerStore(AnswerStoreOptions) {}
AnswerStore::~AnswerStore() = default;
Status AnswerStore::open(int64_t) { return unimplemented(answer_store_missing()); }
std::optional<std::string> AnswerStore::find(std::string_view, int64_t) { return std::nullopt; }
PutOutcome AnswerStore::put(const AnswerEntry&, int64_t) { return {}; }
bool AnswerStore::is_writable(int64_t) const { return false; }
Result<AnswerStoreStats> AnswerStore::stats() { return unimplemented(answer_store_missing()); }
Status AnswerStore::list(int64_t, const std::function<void(const AnswerRow&)>&) {
  return unimplemented(answer_store_missing());
}
Status AnswerStore::clear() { return unimplemented(answer_store_missing()); }

}  // namespace sparrow
