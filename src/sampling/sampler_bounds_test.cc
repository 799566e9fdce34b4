// The passes over a row of logits stay inside it, and inside the mask: both have their exact size
// and touch a page without access, at the end and then at the beginning.

#include <gtest/gtest.h>

#include "base/random.h"
#include "kernels/cpu_features.h"
#include "kernels/guarded_buffer.h"
#include "sampling/row_scan.h"
#include "sampling/sampler.h"

namespace sparrow {
namespace {

constexpr size_t kSizes[] = {1, 2, 31, 32, 33, 63, 64, 65, 100, 1000, 4099};

std::vector<float> random_row(size_t size) {
  std::vector<float> row(size);
  for (size_t i = 0; i < size; ++i) row[i] = static_cast<float>(random_uniform(7, i, 1) * 8);
  return row;
}

TEST(SamplerBounds, RowScans_StayInTheRow) {
  for (const size_t size : kSizes) {
    for (const Edge edge : kEdges) {
      GuardedBuffer<float> row(edge, random_row(size));
      const RowSummary summary = summarize(row.span());
      EXPECT_TRUE(summary.finite);
      EXPECT_EQ(summary.largest, largest_of(row.span()));
      EXPECT_LT(static_cast<size_t>(first_of(row.span(), summary.largest)), size);
      EXPECT_GT(sum_of(row.span()), 0.0);
    }
  }
}

TEST(SamplerBounds, Sample_StaysInRowAndMask) {
  std::vector<SamplingParams> choices(5);
  choices[0].temperature = 0;  // greedy
  choices[1].temperature = 1;
  choices[2].temperature = 0.6;
  choices[2].top_p = 0.9;
  choices[3].temperature = 0.8;
  choices[3].top_k = 20;
  choices[3].min_p = 0.05;
  choices[4].temperature = 1;
  choices[4].top_p = 0.5;
  choices[4].repetition_penalty = 1.2;
  for (const Kernels* kernels : runnable_kernels()) {
    for (const size_t size : kSizes) {
      const Sampler sampler(*kernels, static_cast<int32_t>(size), {});
      for (const SamplingParams& params : choices) {
        SlotStart start;
        start.params = &params;
        SamplerState state;
        state.start(start);
        for (const Edge edge : kEdges) {
          for (const bool masked : {false, true}) {
            GuardedBuffer<float> logits(edge, random_row(size));
            const GuardedBuffer<uint32_t> mask(edge, (size + 31) / 32, 0xffffffffu);
            Sampler::Row row;
            row.logits = logits.span();
            if (masked) row.mask = {mask.data(), mask.size()};
            Sampler::Scratch scratch;
            std::vector<TokenLogprob> top;
            const SampledToken token = sampler.sample(row, state, scratch, top);
            EXPECT_LT(static_cast<size_t>(token.id), size) << kernels->name;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace sparrow
