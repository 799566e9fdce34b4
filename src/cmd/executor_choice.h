#pragma once
// Which device computes and with what options, from --device and the shared options
// (options/model_options.h).

#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "base/status.h"
#include "cmd/options/thread_options.h"
#include "kernels/cuda/gpu_device.h"
#include "model/cpu_options.h"
#include "model/executor.h"
#include "model/tensor_source.h"

namespace sparrow {

struct SessionNeeds {
  bool tokenizer = true;
  // Replace the options' choice when above zero (bench needs exact sizes).
  int num_slots = 0;
  int num_blocks = 0;
  int max_context = 0;
  int max_batch_tokens = 0;
  // Equal executors of one model: serve's --data-parallel-size.
  int num_replicas = 1;
};

struct ChosenExecutor {
  std::unique_ptr<ModelExecutor> executor;
  std::string gpu_pci_bus_id;  // of the card it computes on; empty: the CPU
};

// Executors of the session's needs, one after the other: on a CPU they share its threads and the
// memory that was free at first, on GPUs each has a card.
//
//   ExecutorChoice choice(values, needs, disallowed_tokens);
//   for (int i = 0; i < needs.num_replicas; ++i) … choice.load_next(source) …
class ExecutorChoice {
 public:
  ExecutorChoice(const OptionValues& values, const SessionNeeds& needs,
                 std::vector<TokenId> disallowed_tokens)
      : values_(values), needs_(needs), disallowed_tokens_(std::move(disallowed_tokens)) {}

  // Loaded. Errors are one line naming the option: a device that is not there, a type of numbers
  // it lacks, a plan that does not fit (and who holds the card's memory).
  Result<ChosenExecutor> load_next(TensorSource& source);

 private:
  Result<ChosenExecutor> make_next(const TensorSource& source);
  Result<std::unique_ptr<GpuDevice>> choose_gpu();
  Result<CpuExecutorOptions> cpu_options();

  const OptionValues& values_;
  const SessionNeeds needs_;
  const std::vector<TokenId> disallowed_tokens_;
  int num_made_ = 0;
  bool uses_cpu_ = false;
  // Of the CPU, for all of them; chosen with the first.
  ComputeThreads threads_;
  int64_t memory_bytes_ = 0;
};

// --max-step-ms, or what suits the device.
double chosen_max_step_ms(const OptionValues& values, const ModelExecutor& executor);

}  // namespace sparrow
