#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <vector>

#include "base/log_format.h"

namespace sparrow {
namespace {

constexpr const char* kTextPattern = "%^%L%$ %H:%M:%S.%e %v";
constexpr const char* kJsonPattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})";

struct Sink {
  std::shared_ptr<spdlog::logger> logger;
  LogFormat format = LogFormat::kText;
};

Sink& sink() {
  static Sink instance = [] {
    auto created = std::make_shared<spdlog::logger>(
        "sparrow", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    created->set_pattern(kTextPattern);
    return Sink{created};
  }();
  return instance;
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

}  // namespace

Status configure_log(const LogOptions& options) {
  std::vector<spdlog::sink_ptr> sinks = {std::make_shared<spdlog::sinks::stderr_color_sink_mt>()};
  if (!options.file.empty()) {
    try {
      sinks.push_back(std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file));
    } catch (const std::exception& error) {
      return invalid_argument("--log-file: " + std::string(error.what()));
    }
  }
  auto created = std::make_shared<spdlog::logger>("sparrow", sinks.begin(), sinks.end());
  created->set_pattern(options.format == LogFormat::kJson ? kJsonPattern : kTextPattern);
  created->set_level(to_spdlog(options.level));
  created->flush_on(spdlog::level::info);
  sink() = {created, options.format};
  return ok_status();
}

void log_line(LogLevel level, std::string_view line) { log_event(level, line, {}); }

void log_event(LogLevel level, std::string_view message, const LogFields& fields) {
  const Sink& to = sink();
  if (!to.logger->should_log(to_spdlog(level))) return;
  std::string line;
  if (to.format == LogFormat::kJson) {
    append_log_json(line, message, fields);
  } else {
    append_log_text(line, message, fields);
  }
  to.logger->log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace sparrow
