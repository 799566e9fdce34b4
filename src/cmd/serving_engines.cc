#include "cmd/serving_engines.h"

#include "api/engines/engine_group.h"
#include "base/random.h"

namespace sparrow {
namespace {

EngineOptions engine_options(const OptionValues& values, const ModelExecutor& executor,
                             const std::string& model_name, const SpeculationOptions& speculation) {
  EngineOptions options;
  options.speculation = speculation;
  options.max_num_seqs = static_cast<int>(values.integer("max-num-seqs"));
  options.max_num_batched_tokens = values.given("max-num-batched-tokens")
                                       ? static_cast<int>(values.integer("max-num-batched-tokens"))
                                       : executor.limits().max_batch_tokens;
  options.max_step_ms = chosen_max_step_ms(values, executor);
  options.seat_patience_ms = values.number("seat-patience-ms");
  options.max_num_queued_reqs = static_cast<int>(values.integer("max-num-queued-reqs"));
  options.model_name = model_name;
  options.legacy_metric_names = values.flag("metrics-legacy-names");
  options.prefix.enabled = values.flag("enable-prefix-caching");
  options.prefix.key = {entropy64(), entropy64()};
  return options;
}

}  // namespace

ServingEngines::ServingEngines(const OptionValues& values, const ModelSession& session,
                               const std::string& model_name, const SpeculationOptions& speculation,
                               MetricsRegistry& metrics)
    : values_(values) {
  for (ModelExecutor* executor : session.executors()) {
    EngineOptions options = engine_options(values, *executor, model_name, speculation);
    options.index = static_cast<int>(engines_.size());
    engines_.push_back(std::make_unique<Engine>(*executor, *session.tokenizer, options, &metrics));
    threads_.push_back(std::make_unique<EngineThread>(*engines_.back(), clock_));
  }
}

void ServingEngines::start() {
  for (const auto& thread : threads_) thread->start();
}

std::unique_ptr<api::EnginePort> ServingEngines::port() const {
  std::vector<std::unique_ptr<api::EnginePort>> ports;
  for (const auto& engine : engines_) {
    ports.push_back(std::make_unique<api::EngineAdapter>(*engine));
  }
  if (ports.size() == 1) return std::move(ports.front());
  api::EngineGroupOptions options;
  options.watchdog_timeout = from_ms(values_.number("watchdog-timeout-s") * 1000);
  options.prefix_affinity = values_.flag("enable-prefix-caching");
  options.key = {entropy64(), entropy64()};
  return std::make_unique<api::EngineGroup>(std::move(ports), options);
}

void ServingEngines::stop(ServeEvents& events, Duration patience) {
  std::vector<EngineOnThread> running;
  for (size_t i = 0; i < engines_.size(); ++i) {
    running.push_back({threads_[i].get(), engines_[i].get()});
  }
  stop_engines(running, events, patience);
}

}  // namespace sparrow
