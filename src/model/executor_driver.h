#pragma once
// ExecutorDriver: plays the scheduler for tests of an executor: sequences with block tables, plans
// from "these sequences, so many tokens each", logits through the probe. Test support only.
//
//   ExecutorDriver driver(executor);
//   int sequence = driver.add(tokens);
//   driver.step({{sequence, 17, 1}});               // 17 tokens, the last one sampled
//   driver.logits(sequence, 16);                    // [vocab] after token 16

#include <map>
#include <memory>
#include <vector>

#include "model/executor.h"

namespace sparrow {

class ExecutorDriver {
 public:
  struct Part {
    int sequence = 0;
    int num_tokens = 0;
    int num_logit_rows = 0;            // 1 + drafts.size() with drafts
    std::vector<TokenId> drafts = {};  // guesses behind the num_tokens tokens
  };

  // Blocks are handed out in the given order (empty: ascending), dirty or not.
  explicit ExecutorDriver(ModelExecutor& executor, std::vector<BlockId> block_order = {});
  ~ExecutorDriver();

  int add(std::vector<TokenId> tokens, SamplingParams params = greedy());
  // Computes the next tokens of each part; beyond the known ones the sampled token is used.
  const StepResult& step(const std::vector<Part>& parts);
  void remove(int sequence);

  // The whole sequence in chunks of `chunk` tokens, every row of logits kept.
  void run_all(int sequence, int chunk);
  // num_tokens greedy (or sampled) tokens after the prompt.
  std::vector<TokenId> generate(int sequence, int num_tokens);

  const std::vector<float>& logits(int sequence, int position) const;
  const std::vector<TokenId>& tokens(int sequence) const { return at(sequence).tokens; }

  static SamplingParams greedy() {
    SamplingParams params;
    params.temperature = 0;
    return params;
  }

 private:
  struct Sequence {
    std::vector<TokenId> tokens;
    SamplingParams params;
    SlotId slot = kNoSlot;
    int num_prompt = 0;
    int num_computed = 0;
    bool started = false;
    std::vector<BlockId> blocks;
    std::map<int, std::vector<float>> logits;  // by position
  };
  Sequence& at(int sequence) { return *sequences_.at(static_cast<size_t>(sequence)); }
  const Sequence& at(int sequence) const { return *sequences_.at(static_cast<size_t>(sequence)); }
  void add_span(const Part& part);

  ModelExecutor& executor_;
  std::vector<BlockId> free_blocks_;  // the next one last
  std::vector<SlotId> free_slots_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
  BatchPlan plan_;
};

}  // namespace sparrow
