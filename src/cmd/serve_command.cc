// sparrow serve: listens, loads the model, serves until a signal, finishes what runs.

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "api/api_server.h"
#include "api/auth_key_file.h"
#include "base/log.h"
#include "base/open_file_limit.h"
#include "cmd/command.h"
#include "cmd/model_session.h"
#include "cmd/options/admission_options.h"
#include "cmd/options/answer_cache_options.h"
#include "cmd/options/speculation_options.h"
#include "cmd/serve_events.h"
#include "cmd/served_model_info.h"
#include "cmd/serving_engines.h"
#include "cmd/version.h"
#include "http/http_server.h"

namespace sparrow {
namespace {

// How often a waiting shutdown looks whether the last answer has ended.
constexpr std::chrono::milliseconds kShutdownTick{20};

LogLevel log_level(const std::string& name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "warning") return LogLevel::kWarning;
  return name == "error" ? LogLevel::kError : LogLevel::kInfo;
}

// Flags of other servers that change nothing here are answered by one line each, never in silence.
void log_flags_without_effect(const OptionValues& values) {
  constexpr std::pair<const char*, const char*> kNotes[] = {
      {"trust-remote-code", "no code from a model is ever run"},
      {"reasoning-parser", "the model's own think tokens decide"},
      {"workers", "one process serves everybody"},
  };
  for (const auto& [name, reason] : kNotes) {
    if (values.given(name)) log_info("--{} is accepted, without effect: {}", name, reason);
  }
  if (values.text("device") != "cpu") return;
  if (values.given("enforce-eager")) {
    log_info("--enforce-eager is accepted, without effect: there are no CUDA graphs on a CPU");
  }
  if (values.given("gpu-memory-utilization")) {
    log_info(
        "--gpu-memory-utilization {}: on a CPU this is the share of the free memory to plan with",
        values.text("gpu-memory-utilization"));
  }
}

// Loud, never a refusal: first experiments and closed networks work as they are.
void log_security_warnings(const OptionValues& values) {
  const std::string& host = values.text("host");
  const bool has_keys = !values.list("api-key").empty() || !values.text("api-key-file").empty();
  if (!http::is_loopback_address(host) && !has_keys) {
    log_warning("LISTENING ON {} WITHOUT A KEY: everybody who reaches this machine can use it.",
                host);
    log_warning("Set --api-key (or SPARROW_API_KEY, or --api-key-file), or --host 127.0.0.1.");
  }
  if (values.flag("log-prompts")) {
    log_warning("--log-prompts: what users write goes to the log, word for word.");
  }
}

// A key from an unset variable must not open the server.
Status check_key_options(const OptionValues& values) {
  for (const char* name : {"api-key", "admin-key"}) {
    const std::vector<std::string>& keys = values.list(name);
    const bool empty = keys.empty() || std::find(keys.begin(), keys.end(), "") != keys.end();
    if (values.given(name) && empty) {
      return invalid_argument(
          fmt::format("--{} is empty: is a variable not set? Leave it out to need no key", name));
    }
    for (const std::string& key : keys) {
      if (key.size() <= api::kMaxKeyBytes) continue;
      return invalid_argument(
          fmt::format("--{} takes keys of at most {} characters", name, api::kMaxKeyBytes));
    }
  }
  if (!values.text("ssl-keyfile").empty() && values.text("ssl-certfile").empty()) {
    return invalid_argument("--ssl-keyfile needs --ssl-certfile");
  }
  return ok_status();
}

// Each connection is an open file, and so are the model's parts and a few more.
void allow_connections(const OptionValues& values) {
  constexpr int64_t kOtherFiles = 128;
  const int64_t wanted = values.integer("max-connections") + kOtherFiles;
  const int64_t allowed = raise_open_file_limit(wanted);
  if (allowed >= wanted) return;
  log_warning(
      "--max-connections {}: this process may open {} files only, so further clients wait to be "
      "accepted; raise the limit with ulimit -n {} before the start",
      values.integer("max-connections"), allowed, wanted);
}

api::SystemRole system_role(const std::string& name) {
  if (name == "fold") return api::SystemRole::kFold;
  if (name == "keep") return api::SystemRole::kKeep;
  return name == "reject" ? api::SystemRole::kReject : api::SystemRole::kAuto;
}

api::ReasoningField reasoning_field(const std::string& name) {
  if (name == "reasoning_content") return api::ReasoningField::kReasoningContent;
  if (name == "reasoning") return api::ReasoningField::kReasoning;
  return name == "inline" ? api::ReasoningField::kInline : api::ReasoningField::kBoth;
}

api::ApiOptions api_options(const OptionValues& values) {
  api::ApiOptions options;
  options.version = kVersion;
  options.api_keys = values.list("api-key");
  options.admin_keys = values.list("admin-key");
  options.api_key_file = values.text("api-key-file");
  options.bound_to_loopback = http::is_loopback_address(values.text("host"));
  options.max_requests = values.integer("limit-max-requests");
  options.log_prompts = values.flag("log-prompts");
  options.system_role = system_role(values.text("system-role"));
  options.reasoning_field = reasoning_field(values.text("reasoning-field"));
  options.reject_unknown_fields = values.text("unknown-fields") == "reject";
  options.default_max_tokens = static_cast<int>(values.integer("default-max-tokens"));
  options.metrics_apart = values.given("metrics-port");
  options.watchdog_timeout = from_ms(values.number("watchdog-timeout-s") * 1000);
  options.max_concurrent_requests = static_cast<int>(values.integer("limit-concurrency"));
  options.admission = admission_options(values);
  options.degrade_message = values.text("degrade-message");
  options.limits.max_n = static_cast<int>(values.integer("max-n"));
  options.answer_cache = answer_store_options(values);
  return options;
}

http::ServerOptions server_options(const OptionValues& values) {
  http::ServerOptions options;
  options.host = values.text("host");
  options.port = static_cast<uint16_t>(values.integer("port"));
  if (values.given("ui-port"))
    options.extra_ports.push_back(static_cast<uint16_t>(values.integer("ui-port")));
  options.num_io_threads = static_cast<int>(values.integer("io-threads"));
  options.max_body_bytes = static_cast<size_t>(values.integer("max-body-bytes"));
  options.max_connections = static_cast<size_t>(values.integer("max-connections"));
  options.max_unsent_bytes = static_cast<size_t>(values.integer("max-unsent"));
  options.keep_alive_timeout =
      std::chrono::milliseconds(values.integer("timeout-keep-alive") * 1000);
  options.cors.allowed_origins = values.list("cors");
  options.cors.private_prefix = "/admin";
  options.tls_certificate_file = values.text("ssl-certfile");
  options.tls_key_file = values.text("ssl-keyfile");
  options.allowed_hosts = values.list("allowed-hosts");
  return options;
}

// --metrics-port: few clients, one thread, so that a scrape is answered whatever the main port
// does.
http::ServerOptions metrics_server_options(const OptionValues& values) {
  constexpr size_t kMaxScrapers = 64;
  http::ServerOptions options = server_options(values);
  options.port = static_cast<uint16_t>(values.integer("metrics-port"));
  options.port_flag = "--metrics-port";
  options.extra_ports.clear();
  options.num_io_threads = 1;
  options.max_connections = kMaxScrapers;
  return options;
}

// A broken file is logged, and the old keys stay.
void reload_keys(api::ApiServer& api) {
  log_info("SIGHUP: reading the key file again");
  (void)api.load_keys();
}

// Until a signal or a wish to drain; then until every answer has ended, the time is up or a signal.
void wait_for_shutdown(ServeEvents& events, api::ApiServer& api, double timeout_s) {
  while (events.wait(std::nullopt) == ServeEvents::Event::kReload) reload_keys(api);
  api.begin_drain();
  log_info(
      "Shutting down: finishing {} running answers (at most {:.0f} s; again CTRL+C stops at once)",
      api.num_active(), timeout_s);
  const RealClock clock;
  const TimePoint deadline = clock.now() + from_ms(timeout_s * 1000);
  while (api.num_active() > 0 && clock.now() < deadline) {
    const ServeEvents::Event event = events.wait(kShutdownTick);
    if (event == ServeEvents::Event::kStop) return;
    if (event == ServeEvents::Event::kReload) reload_keys(api);
  }
}

std::string shown_address(const OptionValues& values, const std::string& host, uint16_t port) {
  const char* scheme = values.text("ssl-certfile").empty() ? "http" : "https";
  return host.find(':') == std::string::npos ? fmt::format("{}://{}:{}", scheme, host, port)
                                             : fmt::format("{}://[{}]:{}", scheme, host, port);
}

void log_ready(const OptionValues& values, const api::ModelInfo& info, uint16_t port) {
  const std::string address = shown_address(values, values.text("host"), port);
  const bool any_host = values.text("host") == "0.0.0.0";
  const std::string local = any_host ? shown_address(values, "127.0.0.1", port) : address;
  log_info("Serving model '{}', at most {} tokens per request", info.served_names.front(),
           info.max_model_len);
  const uint16_t metrics_port =
      values.given("metrics-port") ? static_cast<uint16_t>(values.integer("metrics-port")) : port;
  log_info("Page: {}/   API: {}/v1   metrics: {}/metrics", local, local,
           shown_address(values, any_host ? "127.0.0.1" : values.text("host"), metrics_port));
  log_info("Application startup complete.");
  log_info("Sparrow running on {} (Press CTRL+C to quit)", address);
}

// What only happens while loading; the signal ends the process at once, nothing is running yet.
Status serve(const OptionValues& values) {
  ASSIGN_OR_RETURN(const SpeculationOptions speculation, speculation_options(values));
  RETURN_IF_ERROR(check_key_options(values));
  RETURN_IF_ERROR(check_admission_options(values));
  ServeEvents events(!values.text("api-key-file").empty());
  RETURN_IF_ERROR(events.start());
  allow_connections(values);
  MetricsRegistry metrics;
  api::ApiOptions api_settings = api_options(values);
  api_settings.request_drain = [&events] { events.request_drain(); };
  api::ApiServer api(std::move(api_settings), metrics);
  RETURN_IF_ERROR(api.load_keys());
  http::ServerOptions main_port = server_options(values);
  main_port.on_refused_connection = api.refused_connections();
  http::HttpServer server(std::move(main_port), api.handler(), api.protocol_errors());
  RETURN_IF_ERROR(server.start());  // a taken port is told before minutes of loading
  std::optional<http::HttpServer> metrics_server;
  if (values.given("metrics-port")) {
    metrics_server.emplace(metrics_server_options(values), api.metrics_handler(),
                           api.protocol_errors());
    const Status started = metrics_server->start();
    if (!started.ok()) {
      api.stop_ticking();
      server.stop();
      api.stop();
      return started;
    }
  }
  log_flags_without_effect(values);
  log_security_warnings(values);

  const std::string positional = values.positional().empty() ? "" : values.positional()[0];
  events.let_signals_kill(true);
  const int num_replicas = static_cast<int>(values.integer("data-parallel-size"));
  Result<ModelSession> session = open_session(values, positional, {.num_replicas = num_replicas});
  events.let_signals_kill(false);
  if (!session.ok()) {
    api.stop_ticking();
    server.stop();
    if (metrics_server) metrics_server->stop();
    api.stop();
    return session.status();
  }
  const api::ModelInfo info = served_model_info(values, *session);
  ServingEngines engines(values, *session, info.served_names.front(), speculation, metrics);
  engines.start();
  api.set_ready(info, engines.port());
  log_ready(values, info, server.port());
  wait_for_shutdown(events, api, values.number("shutdown-timeout"));
  engines.stop(events, kStopPatience);
  api.stop_ticking();
  server.stop();
  if (metrics_server) metrics_server->stop();
  api.stop();
  log_info("Stopped.");
  return ok_status();
}

}  // namespace

int run_serve(const OptionValues& values) {
  const Status log = configure_log(
      {.level = log_level(values.text("log-level")),
       .format = values.text("log-format") == "json" ? LogFormat::kJson : LogFormat::kText,
       .file = values.text("log-file")});
  if (!log.ok()) return fail(log);
  const Status status = serve(values);
  return status.ok() ? 0 : fail(status);
}

}  // namespace sparrow
