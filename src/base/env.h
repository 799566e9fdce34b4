#pragma once
// Environment variables: the only place that reads them. Safe from any thread as long as nobody
// changes the environment, which we never do.

#include <optional>
#include <string>

namespace sparrow {

// Nothing when unset or empty.
std::optional<std::string> env_string(const char* name);

}  // namespace sparrow
