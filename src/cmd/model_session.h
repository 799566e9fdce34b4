#pragma once
// ModelSession: a model found, read, packed and ready to run, as serve, run and bench share it. The
// lines people wait for are logged on the way. Move-only; owns everything.

#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "base/status.h"
#include "cmd/executor_choice.h"
#include "model/executor.h"
#include "model/model_files.h"
#include "model/model_locator.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace sparrow {

struct ModelSession {
  ModelLocation location;
  ModelConfig config;
  std::string format_name;  // "GGUF Q8_0"
  GenerationDefaults generation;
  std::shared_ptr<const Tokenizer> tokenizer;         // null: the model has none
  std::shared_ptr<const ChatTemplate> chat_template;  // null: completions only
  std::unique_ptr<ModelExecutor> executor;
  std::string gpu_pci_bus_id;                  // of the card that computes; empty: the CPU does
  std::vector<ChosenExecutor> more_executors;  // its equals, where several were asked for

  std::vector<ModelExecutor*> executors() const;  // all of them
};

// From the shared options (model_options.h); the model is `positional` if that is not empty. Errors
// are one line naming the option or the file.
Result<ModelSession> open_session(const OptionValues& values, const std::string& positional,
                                  const SessionNeeds& needs);

// "1.89 GB", "12.5 MB": as the log prints sizes.
std::string size_text(int64_t bytes);

}  // namespace sparrow
