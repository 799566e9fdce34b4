#pragma once
// What `sparrow bench` prints: a table of at most 120 columns, or one JSON array with an object for
// each row. The keys are listed in docs/benchmarks/README.md and stay.

#include <vector>

#include "cmd/model_session.h"
#include "tools/bench/bench.h"
#include "tools/bench/replay.h"

namespace sparrow {

// Both kinds of limit, measured with the threads the executor uses.
struct Probe {
  double bandwidth = 0;  // bytes per second
  double int8_peak = 0;  // operations per second
};

// What every row of a run shares. The session outlives it.
struct BenchedModel {
  const ModelSession& session;
  const char* kv_type;
  Probe before, after;
};

// The lines over every table: what runs, and the limits of the machine.
void print_model(const BenchedModel& model);

void print_rows(const std::vector<BenchRow>& rows, const BenchedModel& model, bool as_json);
void print_rows(const std::vector<ReplayRow>& rows, const BenchedModel& model, bool as_json);

}  // namespace sparrow
