#pragma once
// Keys of the answer cache: every byte that decides an answer, written out. Two requests share an
// answer only when all these bytes are equal. Stateless, thread-safe.

#include <string>
#include <string_view>
#include <vector>

#include "core/request.h"

namespace sparrow::api {

// Of requests whose text is determined: greedy, or with the client's own seed. Only a greedy
// answer does not depend on the seed. `model` is the fingerprint of the weights and how they are
// computed.
std::string exact_answer_key(std::string_view tenant, std::string_view model,
                             const std::vector<Request>& requests);

// Of a question on the operator's list: the conversation stands for the prompt (with the template
// that makes one of the other), any seed and any max_tokens are meant. Belongs to no tenant.
std::string listed_answer_key(std::string_view model, std::string_view chat_template,
                              std::string_view conversation, const Request& request);

}  // namespace sparrow::api
