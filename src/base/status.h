#pragma once
// Status: success, or what went wrong in one sentence a user can act on. Result<T>: a T or a
// Status.
//
// Errors of the world (files, requests, options, sockets) travel as values; errors of ours are
// CHECKs (base/check.h). No exception crosses a folder. Thread-compatible value types.
//
//   Result<Config> config = read_config(path);
//   if (!config.ok()) return config.status();
//   use(*config);

#include <optional>
#include <string>
#include <utility>

#include "base/check.h"

namespace sparrow {

enum class StatusCode {
  kOk,
  kInvalidArgument,     // the caller's input is wrong; repeating it cannot help
  kNotFound,            // a file, model or name does not exist
  kDataLoss,            // a file is truncated or contradicts itself
  kUnimplemented,       // understood, but not something we do
  kFailedPrecondition,  // the machine or the configuration does not allow it
  kResourceExhausted,   // a named limit was reached
  kUnavailable,         // not now; retrying later may help
  kDeadlineExceeded,
  kCancelled,
  kInternal,
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status ok_status() { return Status(); }
inline Status invalid_argument(std::string message) {
  return Status(StatusCode::kInvalidArgument, std::move(message));
}
inline Status not_found(std::string message) {
  return Status(StatusCode::kNotFound, std::move(message));
}
inline Status data_loss(std::string message) {
  return Status(StatusCode::kDataLoss, std::move(message));
}
inline Status unimplemented(std::string message) {
  return Status(StatusCode::kUnimplemented, std::move(message));
}
inline Status failed_precondition(std::string message) {
  return Status(StatusCode::kFailedPrecondition, std::move(message));
}
inline Status resource_exhausted(std::string message) {
  return Status(StatusCode::kResourceExhausted, std::move(message));
}
inline Status unavailable(std::string message) {
  return Status(StatusCode::kUnavailable, std::move(message));
}
inline Status internal_error(std::string message) {
  return Status(StatusCode::kInternal, std::move(message));
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit on purpose
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit on purpose
    CHECK(!status_.ok());
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  const std::string& message() const { return status_.message(); }

  T& value() & {
    CHECK(ok());
    return *value_;
  }
  const T& value() const& {
    CHECK(ok());
    return *value_;
  }
  T&& value() && {
    CHECK(ok());
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace sparrow

#define RETURN_IF_ERROR(expression)                                \
  do {                                                             \
    ::sparrow::Status status_of_expression_ = (expression);        \
    if (!status_of_expression_.ok()) return status_of_expression_; \
  } while (false)

#define SPARROW_CONCAT_INNER(a, b) a##b
#define SPARROW_CONCAT(a, b) SPARROW_CONCAT_INNER(a, b)
#define ASSIGN_OR_RETURN(declaration, expression) \
  ASSIGN_OR_RETURN_IMPL(SPARROW_CONCAT(result_, __LINE__), declaration, expression)
#define ASSIGN_OR_RETURN_IMPL(result, declaration, expression) \
  auto result = (expression);                                  \
  if (!result.ok()) return result.status();                    \
  declaration = std::move(result).value()
