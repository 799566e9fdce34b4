#include "cmd/bench/bench_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "base/json.h"
#include "kernels/cpu_features.h"
#include "model/cpu_executor.h"

namespace sparrow {

void append_number(std::string& out, const char* name, double value) {
  out += fmt::format(",\"{}\":", name);
  append_json_number(out, value);
}

void append_flag(std::string& out, const char* name, bool value) {
  out += fmt::format(",\"{}\":{}", name, value);
}

void append_text(std::string& out, const char* name, const std::string& value) {
  out += fmt::format(",\"{}\":", name);
  append_json_string(out, value);
}

void append_run(std::string& out, const BenchedModel& model) {
  const ModelSession& session = model.session;
  append_number(out, "read_gb_per_s_before", model.before.bandwidth * 1e-9);
  append_number(out, "read_gb_per_s_after", model.after.bandwidth * 1e-9);
  append_number(out, "int8_gops", std::max(model.before.int8_peak, model.after.int8_peak) * 1e-9);
  append_text(
      out, "model",
      session.location.names.size() > 1 ? session.location.names[1] : session.location.names[0]);
  append_text(out, "format", session.format_name);
  append_text(out, "kv_type", model.kv_type);
  append_number(out, "kv_bytes_per_token",
                static_cast<double>(session.executor->kv_bytes_per_token()));
  append_text(out, "cpu", cpu_features().model_name);
  append_text(out, "device", session.executor->device_text());
  append_text(out, "isa", session.executor->arithmetic());
  if (const auto* cpu = dynamic_cast<const CpuExecutor*>(session.executor.get())) {
    append_number(out, "threads", cpu->num_threads());
  }
  out += '}';
}

void print_json_array(const std::vector<std::string>& rows) {
  std::fputs("[", stdout);
  for (size_t i = 0; i < rows.size(); ++i) {
    std::printf("%s%s", i == 0 ? "" : "\n,", rows[i].c_str());
  }
  std::fputs("\n]\n", stdout);
}

}  // namespace sparrow
