// sparrow serve: listens, loads the model, serves until a signal, finishes what runs.

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstdio>

#include "api/api_server.h"
#include "base/log.h"
#include "base/random.h"
#include "cmd/admission_options.h"
#include "cmd/command.h"
#include "cmd/model_session.h"
#include "cmd/speculation_options.h"
#include "cmd/version.h"
#include "engine/engine_thread.h"
#include "http/http_server.h"

namespace sparrow {
namespace {

// How often a waiting shutdown looks whether the last answer has ended.
constexpr long kShutdownTickNs = 50'000'000;

// SIGINT and SIGTERM are taken one by one from the main thread, never by a handler.
sigset_t block_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return set;
}

LogLevel log_level(const std::string& name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "warning") return LogLevel::kWarning;
  return name == "error" ? LogLevel::kError : LogLevel::kInfo;
}

// Flags of other servers that change nothing here are answered by one line each, never in silence.
void log_flags_without_effect(const OptionValues& values) {
  constexpr std::pair<const char*, const char*> kNotes[] = {
      {"enforce-eager", "there are no CUDA graphs on a CPU"},
      {"trust-remote-code", "no code from a model is ever run"},
      {"reasoning-parser", "the model's own think tokens decide"},
      {"workers", "one process serves everybody"},
  };
  for (const auto& [name, reason] : kNotes) {
    if (values.given(name)) log_info("--{} is accepted, without effect: {}", name, reason);
  }
  if (values.given("gpu-memory-utilization")) {
    log_info(
        "--gpu-memory-utilization {}: on a CPU this is the share of the free memory to plan with",
        values.text("gpu-memory-utilization"));
  }
}

void warn_about_open_bind(const OptionValues& values) {
  const std::string& host = values.text("host");
  const bool local = host == "127.0.0.1" || host == "localhost" || host == "::1";
  if (local || !values.list("api-key").empty()) return;
  log_warning(
      "Listening on {} without a key: everybody who reaches this machine can use the model. "
      "Set --api-key to change that.",
      host);
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
  options.system_role = system_role(values.text("system-role"));
  options.reasoning_field = reasoning_field(values.text("reasoning-field"));
  options.reject_unknown_fields = values.text("unknown-fields") == "reject";
  options.default_max_tokens = static_cast<int>(values.integer("default-max-tokens"));
  options.max_concurrent_requests = static_cast<int>(values.integer("limit-concurrency"));
  options.admission = admission_options(values);
  options.limits.max_n = static_cast<int>(values.integer("max-n"));
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
  options.keep_alive_timeout =
      std::chrono::milliseconds(values.integer("timeout-keep-alive") * 1000);
  options.cors.allowed_origins = values.list("cors");
  options.allowed_hosts = values.list("allowed-hosts");
  return options;
}

EngineOptions engine_options(const OptionValues& values, const std::string& model_name,
                             const SpeculationOptions& speculation) {
  EngineOptions options;
  options.speculation = speculation;
  options.max_num_seqs = static_cast<int>(values.integer("max-num-seqs"));
  options.max_num_batched_tokens = static_cast<int>(values.integer("max-num-batched-tokens"));
  options.max_step_ms = values.number("max-step-ms");
  options.max_num_queued_reqs = static_cast<int>(values.integer("max-num-queued-reqs"));
  options.model_name = model_name;
  options.prefix.enabled = values.flag("enable-prefix-caching");
  options.prefix.key = {entropy64(), entropy64()};
  return options;
}

api::ModelInfo model_info(const OptionValues& values, const ModelSession& session) {
  api::ModelInfo info;
  info.served_names = values.list("served-model-name");
  const std::vector<std::string>& names = session.location.names;
  // The path itself stays private where a shorter name exists: replies carry the first name.
  if (info.served_names.empty()) {
    const bool is_path = names.front().find('/') != std::string::npos && names.size() > 1;
    info.served_names = {is_path && session.location.origin == ModelOrigin::kGiven ? names[1]
                                                                                   : names.front()};
  }
  info.aliases = names;
  const bool is_ours = session.location.origin == ModelOrigin::kStarter ||
                       session.location.origin == ModelOrigin::kBundled;
  if (is_ours) info.aliases.push_back("sparrow");
  info.path = session.location.path;
  info.config = session.config;
  info.tokenizer = session.tokenizer;
  info.chat_template = session.chat_template;
  info.generation = session.generation;
  if (values.text("generation-config") == "vllm") {
    info.generation = {};
    info.generation.eos_token_ids = session.generation.eos_token_ids;
  }
  info.max_model_len = session.executor->limits().max_context_tokens;
  info.created = unix_seconds();
  return info;
}

// Until the first signal; then until every answer has ended, the time is up or a second signal.
void wait_for_shutdown(const sigset_t& signals, api::ApiServer& api, double timeout_s) {
  int number = 0;
  sigwait(&signals, &number);
  api.begin_drain();
  log_info(
      "Shutting down: finishing {} running answers (at most {:.0f} s; again CTRL+C stops at once)",
      api.num_active(), timeout_s);
  const RealClock clock;
  const TimePoint deadline = clock.now() + from_ms(timeout_s * 1000);
  while (api.num_active() > 0 && clock.now() < deadline) {
    const timespec tick{0, kShutdownTickNs};
    if (sigtimedwait(&signals, nullptr, &tick) > 0) return;
  }
}

std::string shown_address(const std::string& host, uint16_t port) {
  return host.find(':') == std::string::npos ? fmt::format("http://{}:{}", host, port)
                                             : fmt::format("http://[{}]:{}", host, port);
}

void log_ready(const OptionValues& values, const api::ModelInfo& info, uint16_t port) {
  const std::string address = shown_address(values.text("host"), port);
  const bool any_host = values.text("host") == "0.0.0.0";
  const std::string local = any_host ? shown_address("127.0.0.1", port) : address;
  log_info("Serving model '{}', at most {} tokens per request", info.served_names.front(),
           info.max_model_len);
  log_info("Page: {}/   API: {}/v1   metrics: {}/metrics", local, local, local);
  log_info("Application startup complete.");
  log_info("Sparrow running on {} (Press CTRL+C to quit)", address);
}

// What only happens while loading; the signal ends the process at once, nothing is running yet.
Status serve(const OptionValues& values) {
  ASSIGN_OR_RETURN(const SpeculationOptions speculation, speculation_options(values));
  const sigset_t signals = block_signals();
  MetricsRegistry metrics;
  api::ApiServer api(api_options(values), metrics);
  http::HttpServer server(server_options(values), api.handler(), api::ApiServer::protocol_error);
  RETURN_IF_ERROR(server.start());  // a taken port is told before minutes of loading
  log_flags_without_effect(values);
  warn_about_open_bind(values);

  const std::string positional = values.positional().empty() ? "" : values.positional()[0];
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  Result<ModelSession> session = open_session(values, positional, {});
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  if (!session.ok()) {
    server.stop();
    api.stop();
    return session.status();
  }
  const api::ModelInfo info = model_info(values, *session);
  Engine engine(*session->executor, *session->tokenizer,
                engine_options(values, info.served_names.front(), speculation), &metrics);
  const RealClock clock;
  EngineThread thread(engine, clock);
  thread.start();
  api.set_ready(info, engine);
  log_ready(values, info, server.port());
  wait_for_shutdown(signals, api, values.number("shutdown-timeout"));
  thread.stop();
  server.stop();
  api.stop();
  log_info("Stopped.");
  return ok_status();
}

}  // namespace

int run_serve(const OptionValues& values) {
  const Status log = configure_log(
      {.level = log_level(values.text("log-level")), .file = values.text("log-file")});
  if (!log.ok()) return fail(log);
  const Status status = serve(values);
  return status.ok() ? 0 : fail(status);
}

}  // namespace sparrow
