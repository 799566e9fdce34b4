#pragma once
// StepWork: what steps must move and compute at least, from a model's shapes, and the time a
// machine's limits leave for that. Pure arithmetic.

#include <functional>

#include "core/batch_plan.h"

namespace sparrow {

// What one step must move and compute, from the model's shapes.
struct BenchCost {
  double weight_bytes_per_step = 0;      // every weight but the embedding table, once
  double kv_bytes_per_token = 0;         // K and V of one cached token, all layers
  double ops_per_token = 0;              // 2 x weights of the linear layers, without the head
  double ops_per_logit_row = 0;          // 2 x weights of the head
  double attention_ops_per_context = 0;  // per token and cached token
};

// Measured on this machine, just before; 0: unknown, no limit.
struct MachineLimits {
  double read_bytes_per_s = 0;     // best read pass of all threads
  double ops_per_s = 0;            // peak of the multiply-add the format uses, all threads
  double attention_ops_per_s = 0;  // of the one attention uses
  // One read pass now, bytes per second; runs between the steps of decode rows. Empty: none.
  std::function<double()> read_pass = {};
};

// Of one step or of many.
struct StepWork {
  double tokens = 0;
  double bytes = 0;
  double ops = 0;  // of weights
  double attention_ops = 0;

  void add(const StepWork& other);
};

// Every weight once, and for each span the K and V of its sequence so far, its own tokens included.
StepWork work_of(const BatchPlan& plan, const BenchCost& cost);

// Time at the limits; 0 where a limit is unknown.
double memory_seconds(const StepWork& work, const MachineLimits& limits);
double compute_seconds(const StepWork& work, const MachineLimits& limits);
// The slower of both: of one step. Over many steps, add the limits of each.
double limit_seconds(const StepWork& work, const MachineLimits& limits);

}  // namespace sparrow
