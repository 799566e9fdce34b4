#include "tools/bench/card.h"

#include <algorithm>

namespace sparrow {
namespace {

// Bandwidth and dense bf16 peak (fp16 on the T4, which has no bf16) of NVIDIA's data sheets. The
// peaks of A10G and RTX 3060 are SMs x boost clock x 512: with fp32 accumulation they run at half
// of the rate of their sheets.
constexpr Card kCards[] = {
    {"a10g", 600e9, 70e12},    {"a40", 696e9, 149.7e12}, {"a100", 2.04e12, 312e12},
    {"h100", 3.35e12, 989e12}, {"h200", 4.8e12, 989e12}, {"rtx3060", 360e9, 25.5e12},
    {"t4", 320e9, 65e12},
};

}  // namespace

std::span<const Card> cards() { return kCards; }

const Card* find_card(std::string_view name) {
  const auto found = std::find_if(std::begin(kCards), std::end(kCards),
                                  [&](const Card& card) { return name == card.name; });
  return found == std::end(kCards) ? nullptr : &*found;
}

MachineLimits limits_of(const Card& card) {
  return {.read_bytes_per_s = card.read_bytes_per_s,
          .ops_per_s = card.ops_per_s,
          .attention_ops_per_s = card.ops_per_s,
          .read_pass = {}};
}

}  // namespace sparrow
