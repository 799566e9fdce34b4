#pragma once
// EngineGroup: several equal engines (data parallel) behind one EnginePort. Each request goes to
// one of them, all its choices together; routing.h has the rule.
//
//   auto group = std::make_unique<EngineGroup>(std::move(ports), options);
//   api.set_ready(info, std::move(group));
//
// Left out are engines that are stuck, have given up, or whose breaker is open; one whose breaker
// waits for a probe gets the next request as its probe, and no other while that may hang in its
// step. Where an engine refuses (full, failing), the next best is asked, each at most once; only
// when all refuse the request is. When no engine works, the engines' own breakers decide. One that
// gave up is asked again only then: its probes fail.
//
// Thread-safe. One mutex is waited for, held for the choice (a prediction per engine), never while
// an engine is called. The engines outlive it where its ports do not own them.

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "api/engine_port.h"
#include "api/engines/prefix_affinity.h"
#include "api/engines/routing.h"
#include "base/clock.h"

namespace sparrow::api {

struct EngineGroupOptions {
  const Clock* clock = nullptr;  // of the engines' beats; null: the real one
  Duration watchdog_timeout = std::chrono::seconds(60);
  bool prefix_affinity = true;  // off where engines keep no prefixes
  SipKey key;                   // secret
};

class EngineGroup final : public EnginePort {
 public:
  // 1 to kMaxEngines ports.
  EngineGroup(std::vector<std::unique_ptr<EnginePort>> engines, const EngineGroupOptions& options);

  Status submit(Request request, EventSink* sink) override;
  // Whoever has it.
  void cancel(uint64_t request_id) override;
  // What a newcomer meets: the engine that works and where it would wait the least, with the pace
  // of them all and their number. With none that works: the one that lets a probe in first.
  EngineSnapshot snapshot() const override;
  // The one that is over its time the furthest. Without any lock of an engine.
  Beat beat() const override;
  std::vector<EngineView> engines() const override;

 private:
  using Mask = uint64_t;  // of engines
  struct Looked {
    std::vector<EngineLoad> loads;
    Mask working = 0;
    Mask wants_probe = 0;
    Mask failed = 0;
    Mask not_stuck = 0;  // all if all are
  };
  // Work sent to an engine while it computed one step; as in AdmissionControl.
  struct Recent {
    uint64_t step = 0;
    Reservation work;
  };
  struct Choice {
    size_t engine = 0;
    uint64_t step = 0;  // its work is counted there
  };
  Looked look(TimePoint now) const;
  void log_changes(const Looked& looked) const;
  static size_t first_to_probe(const Looked& looked);
  std::optional<Choice> pick(const Request& request, const PrefixAffinity::Prefix& prefix,
                             const Reservation& work, Mask tried);
  uint64_t mean_steps(const Looked& looked) const;
  Mask without_probe(const Looked& looked) const;
  Reservation recent_work(size_t engine, uint64_t num_steps) const;
  uint64_t reserve(size_t engine, uint64_t num_steps, const Reservation& work);
  void take_back(const Choice& choice, const Reservation& work);

  const std::vector<std::unique_ptr<EnginePort>> engines_;
  const EngineGroupOptions options_;
  const Clock& clock_;
  mutable std::mutex telling_;  // of changes, in the log; nobody waits for it
  // Guarded by telling_.
  mutable Mask logged_working_;
  mutable Mask logged_failed_ = 0;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  PrefixAffinity affinity_;
  std::vector<std::array<Recent, 2>> recent_;  // by engine, by parity of its step
  uint64_t turn_ = 0;
  mutable std::vector<uint64_t> seen_steps_;  // by engine
  mutable double mean_steps_ = 0;
};

}  // namespace sparrow::api
