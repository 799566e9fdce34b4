#include "tools/bench/workload.h"

#include <algorithm>

#include "tools/bench/python_random.h"

namespace sparrow {

int64_t Workload::prompt_tokens() const {
  int64_t sum = 0;
  for (const WorkloadItem& item : items) sum += item.prompt_tokens;
  return sum;
}

int64_t Workload::output_tokens() const {
  int64_t sum = 0;
  for (const WorkloadItem& item : items) sum += item.output_tokens;
  return sum;
}

int Workload::longest() const {
  int longest = 0;
  for (const WorkloadItem& item : items) {
    longest = std::max(longest, item.prompt_tokens + item.output_tokens);
  }
  return longest;
}

Workload nano_vllm_workload() {
  constexpr int kNumSequences = 256;
  constexpr int64_t kShortest = 100, kLongest = 1024, kLastId = 10000;
  PythonRandom random(0);
  Workload workload{.name = "nano-vllm", .items = {}, .num_in_full = kNumSequences};
  workload.items.resize(kNumSequences);
  // All prompts, ids and all, before the first answer: each id takes numbers of the generator.
  for (WorkloadItem& item : workload.items) {
    item.prompt_tokens = static_cast<int>(random.randint(kShortest, kLongest));
    for (int i = 0; i < item.prompt_tokens; ++i) random.randint(0, kLastId);
  }
  for (WorkloadItem& item : workload.items) {
    item.output_tokens = static_cast<int>(random.randint(kShortest, kLongest));
  }
  return workload;
}

Workload first_items(Workload workload, int count) {
  const size_t kept = std::min(workload.items.size(), static_cast<size_t>(std::max(count, 0)));
  workload.items.resize(kept);
  return workload;
}

}  // namespace sparrow
