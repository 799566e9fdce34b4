#pragma once
// ServingEngines: an engine and its thread for each executor of a session, and the one port through
// which requests reach them. Options, session and registry outlive the object. Whoever has the port
// may keep it for longer but not call it: serve() has stopped the servers and the API by then.

#include <memory>
#include <vector>

#include "api/engine_port.h"
#include "base/metrics.h"
#include "base/options.h"
#include "cmd/engine_stop.h"
#include "cmd/model_session.h"
#include "engine/engine_thread.h"
#include "scheduler/speculation.h"

namespace sparrow {

class ServingEngines {
 public:
  ServingEngines(const OptionValues& values, const ModelSession& session,
                 const std::string& model_name, const SpeculationOptions& speculation,
                 MetricsRegistry& metrics);

  void start();
  // Of the only engine, or of the group of them.
  std::unique_ptr<api::EnginePort> port() const;
  void stop(ServeEvents& events, Duration patience);

 private:
  const OptionValues& values_;
  const RealClock clock_;
  std::vector<std::unique_ptr<Engine>> engines_;
  std::vector<std::unique_ptr<EngineThread>> threads_;
};

}  // namespace sparrow
