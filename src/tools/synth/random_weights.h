#pragma once
// Random weights, a pure function of (seed, tensor name, element): roughly normal, standard
// deviation 0.02 as Qwen2 is initialised with; norms around 1. Stateless, thread-safe.

#include <cstdint>
#include <string_view>

namespace sparrow {

// The stream of one tensor.
uint64_t weight_stream(uint64_t seed, std::string_view tensor_name);

// Elements [begin, begin + count) of the stream, plus `offset`. `begin` must be even.
void fill_random_weights(uint64_t stream, int64_t begin, int64_t count, float offset, float* out);

}  // namespace sparrow
