#include "api/engines/engine_group.h"

#include <algorithm>
#include <bit>
#include <new>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "base/log.h"

namespace sparrow::api {
namespace {

const Clock& real_clock() {
  static const RealClock clock;
  return clock;
}

uint64_t bit(size_t engine) { return uint64_t{1} << engine; }

void open_only(uint64_t mask, std::vector<EngineLoad>& loads) {
  for (size_t i = 0; i < loads.size(); ++i) loads[i].is_open = (mask & bit(i)) != 0;
}

// A request's own part of what an answer usually takes.
double expected_output(const Request& request, const LoadSnapshot& load) {
  return std::min<double>(mean_output_tokens(load), std::max(1, request.stop.max_tokens));
}

}  // namespace

EngineGroup::EngineGroup(std::vector<std::unique_ptr<EnginePort>> engines,
                         const EngineGroupOptions& options)
    : engines_(std::move(engines)),
      options_(options),
      clock_(options.clock == nullptr ? real_clock() : *options.clock),
      logged_working_(~Mask{0} >> (kMaxEngines - engines_.size())),
      affinity_(options.key),
      recent_(engines_.size()),
      seen_steps_(engines_.size()) {
  CHECK(!engines_.empty() && engines_.size() <= kMaxEngines);
}

EngineGroup::Looked EngineGroup::look(TimePoint now) const {
  // Looks that are told of follow one another, or the log would go back in time. What another sees
  // meanwhile the next one tells.
  const std::unique_lock telling(telling_, std::try_to_lock);
  const Mask all = ~Mask{0} >> (kMaxEngines - engines_.size());
  Looked looked;
  looked.not_stuck = all;
  looked.loads.resize(engines_.size());
  for (size_t i = 0; i < engines_.size(); ++i) {
    const LoadSnapshot& load = looked.loads[i].load = engines_[i]->snapshot();
    if (stuck_for(engines_[i]->beat(), options_.watchdog_timeout, now)) {
      looked.not_stuck &= ~bit(i);
    } else if (load.breaker == BreakerState::kClosed && !load.failed) {
      looked.working |= bit(i);
    } else if (load.failed) {
      looked.failed |= bit(i);
    } else if (now >= load.breaker_retry_at) {
      looked.wants_probe |= bit(i);
    }
  }
  if (looked.not_stuck == 0) looked.not_stuck = all;  // they may go on, as a single one may
  if (telling.owns_lock()) log_changes(looked);
  return looked;
}

// Engines log what happens to them, not which of several they are.
void EngineGroup::log_changes(const Looked& looked) const {
  const Mask changed = std::exchange(logged_working_, looked.working) ^ looked.working;
  const Mask newly_failed = ~std::exchange(logged_failed_, looked.failed) & looked.failed;
  for (size_t i = 0; i < engines_.size(); ++i) {
    if ((newly_failed & bit(i)) != 0) {
      log_error("engine {}: has given up, others get its requests: a restart is due", i);
    } else if ((changed & bit(i)) == 0 || (looked.failed & bit(i)) != 0) {
      continue;
    } else if ((looked.working & bit(i)) != 0) {
      log_info("engine {}: takes requests again", i);
    } else {
      log_warning("engine {}: {}, others get its requests", i,
                  looked.loads[i].load.breaker == BreakerState::kClosed ? "stuck" : "failing");
    }
  }
}

// What went to an engine after its snapshot of step n is drained at the latest at the start of step
// n + 2, as step n + 1 may run already.
Reservation EngineGroup::recent_work(size_t engine, uint64_t num_steps) const {
  Reservation sum;
  for (const Recent& recent : recent_[engine]) {
    if (recent.step + 2 <= num_steps) continue;
    sum.num_sequences += recent.work.num_sequences;
    sum.num_prompt_tokens += recent.work.num_prompt_tokens;
  }
  return sum;
}

// Who looked before others that chose already adds to theirs: counted longer than needed, not lost.
// The step it is counted at.
uint64_t EngineGroup::reserve(size_t engine, uint64_t num_steps, const Reservation& work) {
  Recent& recent = recent_[engine][num_steps % 2];
  if (recent.step < num_steps) recent = {.step = num_steps, .work = {}};
  recent.work.num_sequences += work.num_sequences;
  recent.work.num_prompt_tokens += work.num_prompt_tokens;
  return recent.step;
}

void EngineGroup::take_back(const Choice& choice, const Reservation& work) {
  std::lock_guard lock(mutex_);
  Recent& recent = recent_[choice.engine][choice.step % 2];
  if (recent.step != choice.step) return;  // forgotten since
  recent.work.num_sequences -= work.num_sequences;
  recent.work.num_prompt_tokens -= work.num_prompt_tokens;
}

// Where work is on its way already, a probe may hang in its step; another would only share its lot.
EngineGroup::Mask EngineGroup::without_probe(const Looked& looked) const {
  Mask wanting = looked.wants_probe;
  for (size_t i = 0; i < engines_.size(); ++i) {
    const bool has_one = recent_work(i, looked.loads[i].load.num_steps).num_sequences > 0;
    if (has_one) wanting &= ~bit(i);
  }
  return wanting;
}

// Nothing: none is left to try.
std::optional<EngineGroup::Choice> EngineGroup::pick(const Request& request,
                                                     const PrefixAffinity::Prefix& prefix,
                                                     const Reservation& work, Mask tried) {
  Looked looked = look(clock_.now());
  const Mask usual = looked.working != 0 ? looked.working : looked.not_stuck;
  std::array<int, kMaxEngines> cached{};
  std::lock_guard lock(mutex_);
  Mask open = without_probe(looked) & ~tried;
  if (open == 0) open = usual & ~tried;
  if (open == 0) return std::nullopt;
  open_only(open, looked.loads);
  share_pace(looked.loads);
  affinity_.look_up(prefix, std::span(cached).first(engines_.size()));
  for (size_t i = 0; i < engines_.size(); ++i) {
    EngineLoad& engine = looked.loads[i];
    engine.ahead = recent_work(i, engine.load.num_steps);
    engine.num_cached_tokens = cached[i];
  }
  const auto engine =
      static_cast<size_t>(choose_engine(looked.loads, static_cast<int64_t>(request.prompt.size()),
                                        expected_output(request, looked.loads[0].load), turn_++));
  return Choice{engine, reserve(engine, looked.loads[engine].load.num_steps, work)};
}

Status EngineGroup::submit(Request request, EventSink* sink) {
  PrefixAffinity::Prefix prefix;
  if (options_.prefix_affinity) prefix = affinity_.name(request.cache_salt, request.prompt);
  const Reservation work{.num_sequences = request.num_choices,
                         .num_prompt_tokens = static_cast<int64_t>(request.prompt.size())};
  Status refusal = unavailable("no engine takes requests");
  Mask tried = 0;
  for (size_t num_left = engines_.size(); num_left > 0; --num_left) {
    std::optional<Choice> choice;
    try {
      choice = pick(request, prefix, work, tried);
      if (!choice) break;
      tried |= bit(choice->engine);
      // An engine that refuses has kept nothing; but it takes the request by value.
      refusal = engines_[choice->engine]->submit(
          num_left == 1 ? std::move(request) : Request(request), sink);
    } catch (const std::bad_alloc&) {
      if (choice) take_back(*choice, work);
      return resource_exhausted("the server has no memory left for another request");
    }
    if (refusal.ok()) {
      std::lock_guard lock(mutex_);
      affinity_.note(prefix, static_cast<int>(choice->engine));
      return ok_status();
    }
    take_back(*choice, work);
    const bool may_fit_elsewhere = refusal.code() == StatusCode::kUnavailable ||
                                   refusal.code() == StatusCode::kResourceExhausted;
    if (!may_fit_elsewhere) return refusal;  // wrong everywhere
  }
  return refusal;
}

void EngineGroup::cancel(uint64_t request_id) {
  for (const auto& engine : engines_) engine->cancel(request_id);
}

// Of the engines that work: those that stand would stretch what admission counts in steps. It never
// goes back, whoever fails or comes again. Under mutex_.
uint64_t EngineGroup::mean_steps(const Looked& looked) const {
  uint64_t sum = 0;
  for (size_t i = 0; i < engines_.size(); ++i) {
    const uint64_t now = std::max(seen_steps_[i], looked.loads[i].load.num_steps);
    const uint64_t before = std::exchange(seen_steps_[i], now);
    if ((looked.working & bit(i)) != 0) sum += now - before;
  }
  if (sum > 0) mean_steps_ += static_cast<double>(sum) / std::popcount(looked.working);
  return static_cast<uint64_t>(mean_steps_);
}

EngineSnapshot EngineGroup::snapshot() const {
  Looked looked = look(clock_.now());
  std::lock_guard lock(mutex_);
  EngineSnapshot out;
  if (looked.working == 0) {
    out = looked.loads[first_to_probe(looked)].load;
  } else {
    open_only(looked.working, looked.loads);
    share_pace(looked.loads);
    for (size_t i = 0; i < engines_.size(); ++i) {
      looked.loads[i].ahead = recent_work(i, looked.loads[i].load.num_steps);
    }
    out = looked.loads[static_cast<size_t>(least_loaded(looked.loads, 0))].load;
    out.num_engines = std::popcount(looked.working);
  }
  out.num_steps = mean_steps(looked);
  return out;
}

size_t EngineGroup::first_to_probe(const Looked& looked) {
  const auto rank = [&](size_t i) {
    const LoadSnapshot& load = looked.loads[i].load;
    return std::tuple((looked.not_stuck & bit(i)) == 0, load.failed, load.breaker_retry_at);
  };
  size_t first = 0;
  for (size_t i = 1; i < looked.loads.size(); ++i) {
    if (rank(i) < rank(first)) first = i;
  }
  return first;
}

Beat EngineGroup::beat() const {
  Beat worst;
  bool all_failed = true;
  for (size_t i = 0; i < engines_.size(); ++i) {
    Beat beat = engines_[i]->beat();
    beat.engine = static_cast<int>(i);
    all_failed = all_failed && beat.failed;
    if (i == 0 || (beat.has_begun && (!worst.has_begun || due(beat) < due(worst)))) worst = beat;
  }
  worst.failed = all_failed;
  return worst;
}

std::vector<EngineView> EngineGroup::engines() const {
  std::vector<EngineView> views;
  for (const auto& engine : engines_) views.push_back({engine->snapshot(), engine->beat()});
  return views;
}

}  // namespace sparrow::api
