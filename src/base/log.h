#pragma once
// Log: one line per event to stderr and, if asked, to a file. The sink is the only process-wide
// object of the program. Thread-safe. Never called from the engine's step loop.
//
//   log_info("Loaded {} in {:.1f} s", path, seconds);

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/status.h"

namespace sparrow {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  std::string file;  // also append to this file when not empty
};

// Call once before threads start; without it, info and above go to stderr.
Status configure_log(const LogOptions& options);
void log_line(LogLevel level, std::string_view line);

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
