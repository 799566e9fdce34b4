#pragma once
// Which device computes and with what options, from --device and the shared options
// (options/model_options.h).

#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "base/status.h"
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
};

struct ChosenExecutor {
  std::unique_ptr<ModelExecutor> executor;
  std::string gpu_pci_bus_id;  // of the card it computes on; empty: the CPU
};

// Not loaded yet. Errors are one line naming the option: a device that is not there, a type of
// numbers it lacks, a plan that does not fit (and who holds the card's memory).
Result<ChosenExecutor> make_executor(const OptionValues& values, const TensorSource& source,
                                     const SessionNeeds& needs,
                                     std::vector<TokenId> disallowed_tokens);

// --max-step-ms, or what suits the device.
double chosen_max_step_ms(const OptionValues& values, const ModelExecutor& executor);

}  // namespace sparrow
