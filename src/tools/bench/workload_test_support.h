#pragma once
// For tests of workloads: a fake executor whose steps take two milliseconds of a fake clock, and
// say so, and draw tokens that are whole characters.

#include <memory>

#include "base/clock.h"
#include "model/fake_executor.h"
#include "tools/synth/byte_tokenizer.h"

namespace sparrow {

inline constexpr double kTestStepMs = 2;

inline constexpr ExecutorLimits kTestLimits = {.block_tokens = 4,
                                               .num_blocks = 92,
                                               .num_slots = 4,
                                               .max_batch_tokens = 64,
                                               .max_context_tokens = 96,
                                               .vocab_size = 263};

struct TimedFake {
  explicit TimedFake(FakeExecutorOptions options = {}, ExecutorLimits limits = kTestLimits) {
    options.limits = limits;
    options.num_tokens = 90;  // '!' to 'z'
    options.fixed_ms = kTestStepMs;
    options.row_ms = 0;
    options.on_part = [this](uint64_t, StepPart part) {
      if (part == StepPart::kWait) clock.advance(from_ms(kTestStepMs));
    };
    executor = std::make_unique<FakeExecutor>(options);
  }

  FakeClock clock;
  std::unique_ptr<FakeExecutor> executor;
  std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::create(byte_tokenizer_spec()).value();
};

}  // namespace sparrow
