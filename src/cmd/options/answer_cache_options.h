#pragma once
// The options of the answer cache, as serve and cache share them. Stateless.

#include <vector>

#include "base/options.h"
#include "store/answer_store.h"

namespace sparrow {

std::vector<OptionSpec> with_answer_cache_options(std::vector<OptionSpec> own);
// `path` is empty when the cache is off.
AnswerStoreOptions answer_store_options(const OptionValues& values);

}  // namespace sparrow
