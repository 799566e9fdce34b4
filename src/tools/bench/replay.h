#pragma once
// Replay: what speculation brings on given texts. The executor computes every step as for a user;
// then the tokens it sampled are replaced by those of the text, so that drafts are right or wrong
// as they would be for a model that says this text. So weights may be random, and the time is that
// of the real scheduler and the real kernels.
//
// Every text is written twice in each round, with guesses and without, in changing order, by two
// schedulers over halves of one executor's KV blocks; each remembers what it learned, as a server
// would, and finds the prompt in its prefix cache after the first round, which is not counted.
// Timed is what follows the first token. Greedy, one sequence at a time. One thread calls.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/executor.h"
#include "scheduler/speculation.h"

namespace sparrow {

struct ReplayText {
  std::vector<TokenId> prompt;
  std::vector<TokenId> output;  // at least two
};

struct ReplayOptions {
  int num_rounds = 5;
  double max_step_ms = 200;
  SpeculationOptions speculation;
};

// Of one text, or of all together.
struct ReplayRow {
  int text = -1;  // index; -1: all
  int num_tokens = 0;
  double plain_s = 0;  // medians of the rounds
  double drafted_s = 0;
  // Time without guesses over time with them in the same round: median, least, most.
  double speedup = 0, speedup_min = 0, speedup_max = 0;
  double steps = 0;  // with guesses, mean of the rounds; without: num_tokens
  double guessed = 0, right = 0;
};

struct ReplayReport {
  std::vector<ReplayRow> rows;  // one for each text, then one for all; none without a full round
  bool stopped = false;         // by `progress`: the rows are those of the full rounds
};

// KV blocks and positions that run_replay needs.
int64_t replay_num_blocks(const std::vector<ReplayText>& texts, int block_tokens);
int replay_num_positions(const std::vector<ReplayText>& texts);

// `progress` is called before each text with a line to show; false: stop.
Result<ReplayReport> run_replay(Executor& executor, const std::vector<ReplayText>& texts,
                                const ReplayOptions& options,
                                const std::function<bool(const std::string&)>& progress);

}  // namespace sparrow
