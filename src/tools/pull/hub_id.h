#pragma once
// Hub ids: what a user types for a model -> ORG/NAME, and what a wrong id may have meant.
// Stateless, thread-safe. Errors say what was typed and what an id looks like.

#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow {

// ORG/NAME, each 1 to 96 letters, digits, '.', '_', '-'; neither ".." nor "--", no '.' or '-' at an
// end. Such an id is safe in a path and in an address.
bool is_hub_id(std::string_view id);

// Branch, tag, refs/pr/N or commit: at most 200 letters, digits, '.', '_', '-', '/'; no "..".
bool is_hub_revision(std::string_view revision);
bool is_commit(std::string_view revision);  // 40 lower-case hex digits

// An id, the address of its page, or the bare name of a model we know; a known id is taken in any
// letter case and gets its right one.
Result<std::string> parse_hub_id(const std::string& typed);

// The known id whose name is that of `id` (any owner, any case), if it is another one than `id`.
std::optional<std::string> suggest_hub_id(std::string_view id);

// Same id but for the case of its letters.
bool same_hub_id(std::string_view a, std::string_view b);

// The folder of the id in a hub cache: models--ORG--NAME.
std::string hub_cache_folder(const std::string& id);

}  // namespace sparrow
