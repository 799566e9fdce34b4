#pragma once
// Workload: the lengths of a set of requests that are all there from the beginning. Lengths alone:
// a dense model's speed does not depend on what the tokens say. Plain values.

#include <cstdint>
#include <string>
#include <vector>

namespace sparrow {

struct WorkloadItem {
  int prompt_tokens = 0;
  int output_tokens = 0;  // exactly so many: end-of-sequence tokens do not end it
};

struct Workload {
  std::string name;  // "nano-vllm", or the file
  std::vector<WorkloadItem> items;
  int num_in_full = 0;  // items before first_items() left some out

  int64_t prompt_tokens() const;  // of all items
  int64_t output_tokens() const;
  int longest() const;  // prompt and output of one item, in tokens
};

// The set of nano-vllm's bench.py: 256 sequences with prompts and answers of 100 to 1,024 tokens,
// drawn as that script draws them with Python's random.seed(0). 142,827 prompt tokens and 133,966
// output tokens.
Workload nano_vllm_workload();

// The first `count` items; the workload remembers how many there were.
Workload first_items(Workload workload, int count);

}  // namespace sparrow
