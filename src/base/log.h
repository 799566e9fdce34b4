#pragma once
// Log: one line per event to stderr and, if asked, to a file. The sink is the only process-wide
// object of the program. Thread-safe. Never called from the engine's step loop.
//
//   log_info("Loaded {} in {:.1f} s", path, seconds);

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"

namespace sparrow {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

enum class LogFormat { kText, kJson };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  std::string file;  // also append to this file when not empty
};

// One "name=value" behind the message.
struct LogField {
  const char* name;
  std::variant<int64_t, double, std::string> value;
};
using LogFields = std::vector<LogField>;

// Call once before threads start; without it, info and above go to stderr.
Status configure_log(const LogOptions& options);
void log_line(LogLevel level, std::string_view line);
// A message with fields, which JSON keeps apart. Strings are escaped and cut (log_format.h).
void log_event(LogLevel level, std::string_view message, const LogFields& fields);

template <typename... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace sparrow
