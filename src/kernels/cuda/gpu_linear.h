#pragma once
// Products of activations with weight matrices on a card: y = x W^T.
//
// A GpuMatrix is a matrix as it lies in device memory, row-major, a row being one output. It does
// not own. Values of the formats:
//   kBF16, kF16   weight
//   kInt8         int8 value * scale of its group
//   kInt4         (nibble - zero of its group) * scale of its group; zero is 8 without `zeros`
// A group is `group` neighbouring inputs of one row and divides cols. How int4 nibbles lie in their
// bytes: linear/int4_order.h.
//
// Which kernel runs is choose_linear_kernel() (linear/choose_linear_kernel.h): a function of the
// shape, the format, the card and whether there are at most 8 rows of x. Each sums the
// products of an output in an order of its own, which depends on the shape and the format alone: a
// row's result has the same bits whatever the other rows are and, with the same kernel, however
// many. For many rows a library may compute instead (product_library.h); the executor knows when.

#include <cstdint>

#include "kernels/cuda/gpu_types.h"

namespace sparrow {

enum class GpuWeightFormat : uint8_t { kBF16, kF16, kInt8, kInt4 };

struct GpuMatrix {
  GpuWeightFormat format = GpuWeightFormat::kBF16;
  int32_t rows = 0;                // outputs
  int32_t cols = 0;                // inputs
  int32_t group = 0;               // inputs that share a scale; 0 for plain formats
  const void* values = nullptr;    // [rows][cols] values: 2 bytes, 1 byte or half a byte each
  const void* scales = nullptr;    // [rows][cols / group], fp16 or, with has_f32_scales, fp32
  const uint8_t* zeros = nullptr;  // [rows][cols / group] of kInt4; null: 8 everywhere
  bool has_f32_scales = false;
};

// The tiles of products on the matrix units, rows of W by rows of x. They change no bit of a
// result, only the time: which is fastest depends on the shape and the card
// (model/cuda/product_trials.h).
enum class LinearTiles : uint8_t { kByRows, k128By64, k128By128 };  // kByRows: 64 x 32 or 64 x 64

// Where the rows of x are rms(x[row_of[i]]) * gain, rounded to x_type, of the residual stream, and
// the product normalises them itself: the bits of rms_norm. For kernels that do:
// takes_input_norm() (linear/choose_linear_kernel.h).
struct InputNorm {
  const float* x = nullptr;         // [T][cols]; null: no norm
  const int32_t* row_of = nullptr;  // [num_rows]; null: row i
  const float* gain = nullptr;      // [cols]
  float eps = 1e-6f;
};

// What the kernel for few rows cuts a product for. num_sms 0: products of few rows take the kernel
// that knows nothing of the card.
struct LinearCard {
  int32_t num_sms = 0;
  int32_t max_shared_bytes = 0;  // of a block
};

// out[t][r] = sum over k of x[t][k] * W[r][k] (+ bias[r]); fp32 sums. With add_to_out the sum is
// added to what lies in out: the residual stream.
struct LinearArgs {
  GpuMatrix matrix;
  const void* x = nullptr;  // [num_rows][cols] of x_type; null with a norm
  InputNorm norm;
  GpuFloat x_type = GpuFloat::kBF16;
  int32_t num_rows = 0;
  const float* bias = nullptr;  // [rows] or null
  float* out = nullptr;         // [num_rows][out_stride], columns [0, rows) are written
  int32_t out_stride = 0;
  bool add_to_out = false;
  bool has_matrix_units = false;  // GpuDeviceInfo::has_bf16_matrix_units()
  LinearTiles tiles = LinearTiles::kByRows;
  LinearCard card;
};

// out[t][r] = silu(x[t] . gate[r]) * (x[t] . up[r]), rounded to x_type. Both have the same shape,
// group and format.
struct GatedLinearArgs {
  GpuMatrix gate;
  GpuMatrix up;
  const void* x = nullptr;  // [num_rows][cols] of x_type; null with a norm
  InputNorm norm;
  GpuFloat x_type = GpuFloat::kBF16;
  int32_t num_rows = 0;
  void* out = nullptr;            // [num_rows][rows] of x_type
  bool has_matrix_units = false;  // GpuDeviceInfo::has_bf16_matrix_units()
  LinearTiles tiles = LinearTiles::kByRows;
  LinearCard card;
};

// out[t][i] = silu(in[t][i]) * in[t][n + i] for i < n, in fp32, rounded to type: what a gated
// product does where gate and up were computed as one matrix.
struct SiluMultiplyArgs {
  const void* in = nullptr;  // [num_rows][2 n] of type
  void* out = nullptr;       // [num_rows][n] of type
  GpuFloat type = GpuFloat::kBF16;
  int32_t num_rows = 0;
  int32_t n = 0;
};

// out[r][k] = the value of an integer matrix, rounded to type: for products of many rows by a
// library that knows 16 bits only.
struct ExpandMatrixArgs {
  GpuMatrix matrix;     // kInt8 or kInt4
  void* out = nullptr;  // [rows][cols] of type
  GpuFloat type = GpuFloat::kBF16;
};

// out[t] = the row of the embedding that token t names, as fp32.
struct EmbedArgs {
  GpuMatrix embedding;                   // [V][H]
  const int32_t* token_ids = nullptr;    // [num_rows]; -1 (kPendingToken): last_tokens[slots[t]]
  const int32_t* slots = nullptr;        // [num_rows]
  const int32_t* last_tokens = nullptr;  // [num_slots]
  float* out = nullptr;                  // [num_rows][H]
  int32_t num_rows = 0;
};

}  // namespace sparrow
