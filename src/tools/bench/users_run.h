#pragma once
// Users: so many people ask at the same moment, and each asks again when the answer is there. How
// long answers, first tokens and single tokens take them, on the engine alone. One answer of each
// user warms up and is not counted. One thread calls.

#include "base/clock.h"
#include "base/status.h"
#include "model/executor.h"
#include "tokenizer/tokenizer.h"
#include "tools/bench/engine_work.h"
#include "tools/bench/offline_engine.h"
#include "tools/bench/spread.h"
#include "tools/bench/step_work.h"

namespace sparrow {

struct UsersOptions {
  OfflineEngineOptions engine;
  int num_users = 12;
  WorkloadItem request{.prompt_tokens = 256, .output_tokens = 512};
  int rounds = 3;  // answers of each user
};

struct UsersReport {
  int num_answers = 0;        // below users x rounds: stopped
  Percentiles answer_s;       // from the question to the last token
  Percentiles first_token_s;  // from the question
  Percentiles gap_s;          // between deliveries of tokens, all answers together
  EngineWork work;
  bool stopped = false;
};

Result<UsersReport> run_users(Executor& executor, const Tokenizer& tokenizer, const BenchCost& cost,
                              const MachineLimits& limits, const UsersOptions& options,
                              const Clock& clock, const WorkloadProgress& progress);

// The least time in which a machine with these limits can give `num_users` answers that begin
// together: all prompts in one step, then a step for each further token, each at the slower limit.
double users_limit_seconds(const BenchCost& cost, const MachineLimits& limits, int num_users,
                           const WorkloadItem& request);

// That over the target: what share of its limit the machine must reach to be in time. Above 1: no
// engine can.
double share_of_limit_needed(const BenchCost& cost, const MachineLimits& limits, int num_users,
                             const WorkloadItem& request, double target_s);

}  // namespace sparrow
