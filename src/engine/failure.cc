#include "engine/failure.h"

#include <exception>
#include <new>

#include "base/log.h"

namespace sparrow {

void log_failure(const char* where, const char* what) noexcept {
  try {
    log_error("engine: {} failed: {}", where, what);
  } catch (...) {  // then it stays unsaid
  }
}

FinishReason reason_of_exception(const char* where) noexcept {
  try {
    throw;
  } catch (const std::bad_alloc& error) {
    log_failure(where, error.what());
    return FinishReason::kNoMemory;
  } catch (const std::exception& error) {
    log_failure(where, error.what());
  } catch (...) {
    log_failure(where, "an unknown exception");
  }
  return FinishReason::kError;
}

}  // namespace sparrow
