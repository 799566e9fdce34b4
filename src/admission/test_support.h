#pragma once
// QueueModel: an engine in fifty lines, for tests of admission: places, steps of a known cost,
// prompts in pieces, first come first served. It publishes the snapshot a real one would and keeps
// the time itself. Deterministic.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "admission/load_snapshot.h"
#include "base/clock.h"

namespace sparrow {

struct QueueModelOptions {
  int num_places = 12;
  double fixed_ms = 60;
  double row_ms = 4;
  int max_rows = 48;  // of a step
};

struct Job {
  uint64_t id = 0;
  int num_prompt_tokens = 85;
  int num_output_tokens = 48;
  double arrival_ms = 0;
  double deadline_ms = 1e18;  // absolute, of the last token; late ones are dropped
  // Results.
  double first_token_ms = -1;
  double end_ms = -1;
  bool in_time = false;
  // Progress.
  int num_computed = 0;
  int num_output = 0;
};

class QueueModel {
 public:
  explicit QueueModel(const QueueModelOptions& options = {}) : options_(options) {
    load_.max_num_running = options.num_places;
    load_.has_step_cost = true;
    load_.step_fixed_ms = options.fixed_ms;
    load_.step_row_ms = options.row_ms;
    load_.max_step_rows = options.max_rows;
    load_.num_blocks_total = 1000;
  }

  double now_ms() const { return now_ms_; }
  TimePoint now() const { return TimePoint{} + from_ms(now_ms_); }
  const LoadSnapshot& load() const { return load_; }
  bool idle() const { return waiting_.empty() && running_.empty(); }
  void submit(const Job& job) { waiting_.push_back(job); }

  // One step, or nothing but time passing up to `until_ms` if there is no work.
  void step(double until_ms) {
    drop_late();
    while (!waiting_.empty() && running_.size() < static_cast<size_t>(options_.num_places)) {
      running_.push_back(waiting_.front());
      waiting_.pop_front();
    }
    int rows = 0;
    for (Job& job : running_) rows += job.num_output > 0 ? 1 : 0;
    for (Job& job : running_) {
      const int piece =
          std::min(job.num_prompt_tokens - job.num_computed, options_.max_rows - rows);
      if (job.num_output > 0 || piece <= 0) continue;
      job.num_computed += piece;
      rows += piece;
    }
    if (rows == 0) {
      now_ms_ = std::max(now_ms_, until_ms);
    } else {
      now_ms_ += options_.fixed_ms + options_.row_ms * rows;
      for (Job& job : running_) add_token(job);
      std::erase_if(running_, [](const Job& job) { return job.end_ms >= 0; });
    }
    publish();
  }

  std::vector<Job> finished;  // late ones, too

 private:
  void add_token(Job& job) {
    if (job.num_computed < job.num_prompt_tokens) return;
    if (job.num_output++ == 0) job.first_token_ms = now_ms_;
    if (job.num_output == job.num_output_tokens) finish(job, now_ms_ <= job.deadline_ms);
  }
  void finish(Job& job, bool in_time) {
    job.end_ms = now_ms_;
    job.in_time = in_time;
    finished.push_back(job);
    load_.num_deadline_misses_in_a_row = in_time ? 0 : load_.num_deadline_misses_in_a_row + 1;
    if (!in_time) return;
    double& mean = load_.mean_output_tokens;
    mean = mean == 0 ? job.num_output : mean + 0.1 * (job.num_output - mean);
  }
  void drop_late() {
    const auto is_late = [&](Job& job) {
      if (now_ms_ < job.deadline_ms) return false;
      finish(job, false);
      return true;
    };
    std::erase_if(running_, is_late);
    std::erase_if(waiting_, is_late);
  }
  void publish() {
    ++load_.num_steps;
    load_.num_running = static_cast<int>(running_.size());
    load_.num_waiting = static_cast<int>(waiting_.size());
    load_.num_waiting_prompt_tokens = 0;
    for (const Job& job : running_) {
      load_.num_waiting_prompt_tokens += job.num_prompt_tokens - job.num_computed;
    }
    for (const Job& job : waiting_) load_.num_waiting_prompt_tokens += job.num_prompt_tokens;
    load_.oldest_wait_ms = waiting_.empty() ? 0 : now_ms_ - waiting_.front().arrival_ms;
  }

  const QueueModelOptions options_;
  LoadSnapshot load_;
  double now_ms_ = 0;
  std::deque<Job> waiting_;
  std::vector<Job> running_;
};

}  // namespace sparrow
