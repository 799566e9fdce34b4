#pragma once
// Which of several equal engines takes a request. Pure functions of what each has to do.
//
//   The request goes where its last token is predicted soonest (its wait, its prompt, its answer
//   beside the others that run there), a beginning that an engine has probably cached counting as
//   computed; but only to engines whose load is at most kFairness times the least. The load of an
//   engine is how long the answer to an empty prompt would take there.
//
// So a cached beginning is worth what it saves, and no popular one fills an engine while another is
// idle. The two halves are those of SGLang's router (match of prefixes; shortest queue beyond a
// ratio of imbalance), with predicted times in place of counts, as what a request costs differs by
// the hundredfold.

#include <cstdint>
#include <span>

#include "admission/load_snapshot.h"
#include "admission/predicted_wait.h"

namespace sparrow::api {

inline constexpr double kFairness = 1.25;

struct EngineLoad {
  LoadSnapshot load;
  Reservation ahead;          // went there since the snapshot was taken
  int num_cached_tokens = 0;  // of the request's beginning, probably
  bool is_open = true;        // takes part
};

// The pace of equal engines is one: each gets the mean of what they know of it, so that an engine
// that measured one slow step is not left alone for ever. Closed ones are left out.
void share_pace(std::span<EngineLoad> engines);

// The index; -1: none is open. Equal engines take turns: `turn` is any number that grows. The pace
// is shared already.
int choose_engine(std::span<const EngineLoad> engines, int64_t num_prompt_tokens,
                  double num_output_tokens, uint64_t turn);
// Where a newcomer that nothing is known of would wait the least.
int least_loaded(std::span<const EngineLoad> engines, uint64_t turn);

}  // namespace sparrow::api
