#pragma once
// The version of the program, from CMake's project().

namespace sparrow {

extern const char kVersion[];

}  // namespace sparrow
