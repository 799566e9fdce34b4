#pragma once
// Products of packed matrices with the rows of a step, split over all threads by strips of outputs.
// Several matrices that read the same inputs run as one loop: one barrier instead of three. The
// split never changes a result.

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/compute_pool.h"
#include "kernels/packed_matrix.h"
#include "kernels/strip_layout.h"

namespace sparrow {

struct Product {
  const PackedMatrix* weights = nullptr;
  const float* bias = nullptr;  // [rows] or null
  float* out = nullptr;         // [num_tokens][weights rows]
  bool accumulate = false;
};

inline bool needs_quantized(const PackedMatrix& matrix) { return is_grouped(matrix.format()); }

inline void run_product(const Kernels& kernels, const ActivationsView& inputs,
                        const Product& product, int64_t strip_begin, int64_t strip_end) {
  GemmArgs args;
  args.weights = product.weights->view();
  args.inputs = inputs;
  args.strip_begin = strip_begin;
  args.strip_end = strip_end;
  args.bias = product.bias;
  args.accumulate = product.accumulate;
  args.out = product.out;
  args.out_stride = product.weights->rows();
  kernels.gemm(args);
}

// Strips of one piece of work: enough pieces that a late thread's share can be taken over by the
// others, few enough that the hand-out costs nothing.
inline int64_t strips_per_piece(int64_t num_strips, int num_threads) {
  constexpr int64_t kPiecesPerThread = 8;
  return std::max<int64_t>(1, num_strips / (kPiecesPerThread * num_threads));
}

inline void run_products(const Kernels& kernels, ComputePool& pool, const ActivationsView& inputs,
                         std::span<const Product> products) {
  int64_t num_strips = 0;
  for (const Product& product : products) num_strips += product.weights->num_strips();
  const int64_t step = strips_per_piece(num_strips, pool.num_threads());
  int64_t num_pieces = 0;
  for (const Product& product : products) {
    num_pieces += (product.weights->num_strips() + step - 1) / step;
  }
  pool.parallel_for(num_pieces, [&](int64_t piece, int) {
    for (const Product& product : products) {
      const int64_t strips = product.weights->num_strips();
      const int64_t pieces = (strips + step - 1) / step;
      if (piece < pieces) {
        run_product(kernels, inputs, product, piece * step, std::min((piece + 1) * step, strips));
        return;
      }
      piece -= pieces;
    }
  });
}

}  // namespace sparrow
