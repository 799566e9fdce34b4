#pragma once
// What the engine makes of exceptions: the reason the sequence they hit ends with, and a line in
// the log. Nothing here throws: memory may just have run out. Any thread.

#include "core/finish_reason.h"

namespace sparrow {

// "engine: a step failed: out of range", at level error.
void log_failure(const char* where, const char* what) noexcept;
// Logs the exception being handled. kNoMemory for bad_alloc, else kError.
FinishReason reason_of_exception(const char* where) noexcept;

}  // namespace sparrow
