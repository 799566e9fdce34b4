#pragma once
// Card: the limits of GPUs by name, to compute what a workload asks of one that is not at hand.
// From data sheets and other people's measurements, never from this machine: figures made of them
// are computed, not measured.

#include <span>
#include <string_view>

#include "tools/bench/step_work.h"

namespace sparrow {

struct Card {
  const char* name;         // "a40"
  double read_bytes_per_s;  // of the card's memory
  double ops_per_s;         // dense 16-bit products with fp32 accumulation, multiply-add = 2
};

std::span<const Card> cards();
// Null: unknown.
const Card* find_card(std::string_view name);
MachineLimits limits_of(const Card& card);

}  // namespace sparrow
