#pragma once
// The version of the program, from CMake's project().

namespace sparrow {

inline constexpr const char* kVersion = SPARROW_VERSION;

}  // namespace sparrow
