#pragma once
// How many files (sockets among them) this process may have open. Thread-safe as setrlimit is;
// meant for the start of a program.

#include <cstdint>

namespace sparrow {

// Raises the soft limit to `wanted`, at most to the hard limit; never lowers it. Returns the limit
// that holds afterwards.
int64_t raise_open_file_limit(int64_t wanted);

}  // namespace sparrow
