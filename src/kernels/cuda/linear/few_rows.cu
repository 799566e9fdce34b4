// Up to 8 rows of x (decode) on the matrix units: W streams through the chip once, and everything
// is arranged so that its loads never wait. A block for each multiprocessor takes tiles of up to 16
// rows of W (8 of the gate and 8 of `up`, or the two halves of 8 pairs to rotate); its 16 warps
// share the inputs: warp w the windows w, w + 16, ... of 64 bytes of every row. Each keeps kDepth
// windows on the way, across the tiles, and the first of them are asked for before x is looked at.
// x lies in shared memory, normalised there when it is the residual stream that comes in.
//
// The order of an output's sum: a warp's windows one after the other, then the warps. It depends on
// the shape and the format alone.
#include <algorithm>

#include "kernels/cuda/attention/rope_pair.cuh"
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/choose_linear_kernel.h"
#include "kernels/cuda/linear/few_rows_weights.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kMmaRows = kFewRowsMmaRows;
constexpr int kMaxWarps = kFewRowsWarps;
constexpr int kMinWarps = kMmaRows * kMaxRowDots / kWarpSize;  // a thread for each output of a tile
constexpr int kMaxThreads = kMaxWarps * kWarpSize;
constexpr int kDepth = 4;  // windows on the way of a warp

// What an output is. Of the paired forms each needs two rows of W, which lie 8 apart in an mma.
enum class Form {
  kPlain,  // a row of W: added to what is there, or with a bias
  kGated,  // a row of the gate and one of `up`
  kRope,   // of a head of q, k or v the rows i and i + D/2: rotated and stored
};
__host__ __device__ constexpr bool is_paired(Form form) { return form != Form::kPlain; }

struct FewRows {
  LinearWork work;
  RopeStoreArgs rope;  // of kRope
  FewRowsPlan plan;
  int group_shift;
  int num_windows;  // of a row
  int num_warps;    // fewer than 16 where a row has fewer windows
  int x_stride;
};

// Where a warp is in its windows: all of a tile, then those of the block's next.
struct Place {
  int tile;
  int window;

  __device__ __forceinline__ void advance(const FewRows& args) {
    window += args.num_warps;
    if (window < args.num_windows) return;
    window = static_cast<int>(threadIdx.x) / kWarpSize;
    tile += args.plan.num_blocks;
  }
};

template <Form kForm>
__host__ __device__ __forceinline__ int num_outputs(const LinearWork& work) {
  return kForm == Form::kRope ? work.matrix.rows / 2 : work.matrix.rows;
}

template <typename Format, Form kForm>
struct WeightStream {
  const FewRows& args;

  // Of row g + 8 * half of a tile.
  __device__ __forceinline__ const GpuMatrix& matrix(int half) const {
    return kForm == Form::kGated && half == 1 ? args.work.up : args.work.matrix;
  }
  __device__ __forceinline__ int row_of(int output, int half) const {
    if constexpr (kForm != Form::kRope) return output;
    const int pairs = args.rope.heads.head_dim / 2;
    return output + (output / pairs + half) * pairs;
  }
  // Loads are not made for rows and inputs that are not there: zeros.
  __device__ __forceinline__ void load(const Place& place, Window& out) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
    const int g = lane / 4;
    // 32 bits hold every index of a matrix of up to 64 GB, and cost half of 64.
    const unsigned num_pieces = args.work.matrix.cols / (Format::kInputs / 4);
    const unsigned piece = place.window * 4 + lane % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const GpuMatrix& w = matrix(half);
      const int in_tile = is_paired(kForm) ? g : g + half * (kMmaRows / 2);
      const int row = row_of(place.tile * args.plan.tile_rows + in_tile, half);
      out.rows[half] = RowPiece{};
      if (in_tile >= args.plan.tile_rows || row >= w.rows || piece >= num_pieces) continue;
      load_row_words(out.rows[half],
                     static_cast<const uint4*>(w.values) + (row * num_pieces + piece));
      if constexpr (Format::kHasScales) load_group(w, row, piece, out.rows[half]);
    }
  }

 private:
  __device__ __forceinline__ void load_group(const GpuMatrix& w, unsigned row, unsigned piece,
                                             RowPiece& out) const {
    const unsigned num_groups = ((w.cols - 1) >> args.group_shift) + 1;
    const unsigned group = row * num_groups + ((piece * (Format::kInputs / 4)) >> args.group_shift);
    out.scale_bits = w.has_f32_scales ? static_cast<const unsigned*>(w.scales)[group]
                                      : static_cast<const uint16_t*>(w.scales)[group];
    if constexpr (Format::kHasZeros) out.zero = w.zeros[group];
  }
};

// What else comes from far: it would be waited for when the weights are there already.
__device__ __forceinline__ void prefetch_vectors(const FewRows& args) {
  constexpr int kLine = 32;  // floats
  const int at = static_cast<int>(threadIdx.x) * kLine;
  const float* gain = args.work.norm.x != nullptr ? args.work.norm.gain : nullptr;
  if (gain != nullptr && at < args.work.matrix.cols) prefetch_to_l2(gain + at);
  const int row = static_cast<int>(blockIdx.x) * args.plan.tile_rows;
  if (args.work.bias != nullptr && threadIdx.x == 0) prefetch_to_l2(args.work.bias + row);
}

// rms(x) * gain, rounded as rms_norm.cu rounds it, and in its order: the same bits.
template <typename X>
__device__ __forceinline__ void stage_normalised(const FewRows& args, X* x_shared) {
  // As 16 warps do it there, whatever their number is here.
  __shared__ float squares[kMaxRowDots][kMaxWarps];
  const InputNorm& norm = args.work.norm;
  const int thread = static_cast<int>(threadIdx.x);
  const int num_threads = args.num_warps * kWarpSize;
  const int cols = args.work.matrix.cols;
#pragma unroll
  for (int t = 0; t < kMaxRowDots; ++t) {
    if (t >= args.work.num_rows) break;
    const int64_t row = norm.row_of != nullptr ? norm.row_of[t] : t;
    const float* in = norm.x + row * cols;
    for (int warp = thread / kWarpSize; warp < kMaxWarps; warp += args.num_warps) {
      float sum = 0;
#pragma unroll 4
      for (int k = warp * kWarpSize + thread % kWarpSize; k < cols; k += kMaxThreads) {
        sum = fmaf(in[k], in[k], sum);
      }
      sum = warp_sum(sum);
      if (thread % kWarpSize == 0) squares[t][warp] = sum;
    }
  }
  __syncthreads();
  for (int t = 0; t < args.work.num_rows; ++t) {
    float sum = 0;
    for (int warp = 0; warp < kMaxWarps; ++warp) sum += squares[t][warp];
    const float scale = 1.0f / sqrtf(sum / static_cast<float>(cols) + norm.eps);
    const int64_t row = norm.row_of != nullptr ? norm.row_of[t] : t;
    const float* in = norm.x + row * cols;
    X* out = x_shared + t * args.x_stride;
#pragma unroll 4
    for (int k = thread; k < cols; k += num_threads)
      from_float(in[k] * scale * norm.gain[k], out[k]);
    for (int k = cols + thread; k < args.x_stride; k += num_threads) out[k] = X{0};
  }
}

template <typename X>
__device__ __forceinline__ void stage_x(const FewRows& args, X* x_shared) {
  if (args.work.norm.x != nullptr) return stage_normalised(args, x_shared);
  const int pieces = args.work.matrix.cols / 8, stride = args.x_stride / 8;  // of 16 bytes
  const auto* in = static_cast<const uint4*>(args.work.x);
  auto* out = reinterpret_cast<uint4*>(x_shared);
  AsyncCopies copies;
  for (int t = 0; t < args.work.num_rows; ++t) {
    for (int i = static_cast<int>(threadIdx.x); i < stride; i += args.num_warps * kWarpSize) {
      copies.add(out + t * stride + i, in + t * pieces + min(i, pieces - 1), i < pieces);
    }
  }
  copies.commit();
  copies.wait<0>();
}

// One output of a tile, by one thread: what belongs to it beside the sums is asked for in
// prepare(), long before store() needs it.
template <typename X, Form kForm>
struct Output {
  static constexpr int kOutputs = is_paired(kForm) ? kMmaRows / 2 : kMmaRows;
  int t = 0, i = 0, r = 0;  // row of x, place in the tile, output
  bool exists = false;
  float bias[2] = {0, 0};
  float before = 0;            // kPlain: what lies in out
  float cosine = 0, sine = 0;  // kRope
  int head = 0, in_head = 0, cell = -1;

  __device__ __forceinline__ void prepare(const FewRows& args, int tile) {
    const LinearWork& work = args.work;
    t = static_cast<int>(threadIdx.x) / kOutputs;
    i = static_cast<int>(threadIdx.x) % kOutputs;
    r = tile * args.plan.tile_rows + i;
    exists = tile < args.plan.num_tiles && t < work.num_rows && i < args.plan.tile_rows &&
             r < num_outputs<kForm>(work);
    if (!exists) return;
    if constexpr (kForm == Form::kPlain) {
      if (work.bias != nullptr) bias[0] = work.bias[r];
      if (work.add_to_out) before = static_cast<float*>(work.out)[int64_t{t} * work.out_stride + r];
    }
    if constexpr (kForm == Form::kRope) prepare_rope(args);
  }
  __device__ __forceinline__ void store(const FewRows& args, float sum, float other) const {
    if constexpr (kForm == Form::kGated) store_gated<X>(args.work, t, r, sum, other);
    if constexpr (kForm == Form::kPlain) {
      if (args.work.bias != nullptr) sum += bias[0];
      float* out = static_cast<float*>(args.work.out) + int64_t{t} * args.work.out_stride + r;
      *out = args.work.add_to_out ? before + sum : sum;
    }
    if constexpr (kForm == Form::kRope) {
      if (cell < 0) return;
      float low = sum, high = other;
      if (args.work.bias != nullptr) {
        low += bias[0];
        high += bias[1];
      }
      if (!is_value_head(args.rope.heads, head)) rotate_pair(low, high, cosine, sine);
      store_pair<X>(args.rope, t, head, in_head, cell, low, high);
    }
  }

 private:
  __device__ __forceinline__ void prepare_rope(const FewRows& args) {
    const RopeStoreArgs& rope = args.rope;
    const int half = rope.heads.head_dim / 2;
    head = r / half;
    in_head = r % half;
    cell = rope.cells[t];
    const float* table = rope.rope + int64_t{rope.positions[t]} * rope.heads.head_dim;
    cosine = table[in_head];
    sine = table[half + in_head];
    if (args.work.bias == nullptr) return;
    bias[0] = args.work.bias[head * rope.heads.head_dim + in_head];
    bias[1] = args.work.bias[head * rope.heads.head_dim + half + in_head];
  }
};

// sums[warp][row of x][row of the mma]: those of the warps are added in order.
template <typename X, Form kForm>
__device__ __forceinline__ void store_output(const FewRows& args, const Output<X, kForm>& output,
                                             const float* sums) {
  if (!output.exists) return;
  float sum = 0, other = 0;
#pragma unroll 8
  for (int warp = 0; warp < args.num_warps; ++warp) {
    const float* of_warp = sums + (warp * args.work.num_rows + output.t) * kMmaRows;
    sum += of_warp[output.i];
    if constexpr (is_paired(kForm)) other += of_warp[kMmaRows / 2 + output.i];
  }
  output.store(args, sum, other);
}

// A warp's share of a tile is complete; every warp of the block comes here once a tile. The sums of
// two tiles lie in turns in shared memory: one barrier is enough.
template <typename X, Form kForm>
__device__ __forceinline__ void finish_tile(const FewRows& args, const Output<X, kForm>& output,
                                            int turn, const FragmentC& fragment, float* shared) {
  const int num_rows = args.work.num_rows;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  float* sums = shared + turn * (args.num_warps * num_rows * kMmaRows);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int t = lane % 4 * 2 + i % 2, row = lane / 4 + i / 2 * (kMmaRows / 2);
    if (t < num_rows) sums[(warp * num_rows + t) * kMmaRows + row] = fragment.c[i];
  }
  __syncthreads();
  store_output(args, output, sums);
}

// Plain weights: 64 registers a thread, so that the next kernel's blocks find room and ask for
// their first weights while this one finishes. Integers would spill.
template <typename Format>
inline constexpr int kBlocksAtOnce = Format::kHasScales ? 1 : 2;

template <typename Format, typename X, Form kForm>
__global__ void __launch_bounds__(kMaxThreads, kBlocksAtOnce<Format>)
    few_rows_kernel(const FewRows args) {
  auto* zeros_shared = dynamic_shared<uint16_t>();  // where the inputs of a row beyond the last lie
  X* x_shared = reinterpret_cast<X*>(zeros_shared + kFewRowsZeros);
  float* sums_shared = reinterpret_cast<float*>(x_shared + args.work.num_rows * args.x_stride);
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const WeightStream<Format, kForm> weights{args};
  const int num_tiles = args.plan.num_tiles, num_windows = args.num_windows;

  let_next_kernel_start();
  Window ring[kDepth];
  Place next{static_cast<int>(blockIdx.x), warp};
  if (warp >= num_windows) next.tile = num_tiles;  // short rows: nothing for this warp
#pragma unroll
  for (int d = 0; d < kDepth; ++d) {
    if (next.tile < num_tiles) weights.load(next, ring[d]);
    next.advance(args);
  }
  prefetch_vectors(args);
  wait_for_earlier_kernels();
  if (threadIdx.x < kFewRowsZeros) zeros_shared[threadIdx.x] = 0;
  Output<X, kForm> output;
  output.prepare(args, static_cast<int>(blockIdx.x));
  stage_x(args, x_shared);
  __syncthreads();

  const bool has_x = lane / 4 < args.work.num_rows;
  const auto* x =
      has_x ? reinterpret_cast<const uint16_t*>(x_shared) + lane / 4 * args.x_stride : zeros_shared;
  const int x_step = has_x ? Format::kInputs : 0;
  FragmentC sums = {};
  Place at{static_cast<int>(blockIdx.x), warp};
  int turn = 0;
  while (at.tile < num_tiles) {
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      if (at.tile >= num_tiles) break;
      if (warp < num_windows) {
        Format::add(ring[d], weights.matrix(0), weights.matrix(1), x + at.window * x_step, sums);
        if (next.tile < num_tiles) weights.load(next, ring[d]);
        next.advance(args);
      }
      const int tile = at.tile;
      at.advance(args);
      if (at.tile == tile) continue;
      finish_tile(args, output, turn, sums, sums_shared);
      output.prepare(args, at.tile);
      __syncwarp();
      sums = FragmentC{};
      turn ^= 1;
    }
  }
}

template <typename Format, typename X, Form kForm>
void launch_for(GpuStream stream, const LinearWork& work, const RopeStoreArgs& rope) {
  FewRows args;
  args.rope = rope;
  args.work = work;
  args.plan = plan_few_rows(num_outputs<kForm>(work), is_paired(kForm), !Format::kHasScales,
                            work.card.num_sms);
  args.group_shift = 31;  // one group a row, or none
  if (work.matrix.group != 0 && work.matrix.group != work.matrix.cols) {
    for (args.group_shift = 0; (1 << args.group_shift) < work.matrix.group;) ++args.group_shift;
  }
  args.num_windows = (work.matrix.cols + Format::kInputs - 1) / Format::kInputs;
  args.num_warps = std::clamp(args.num_windows, kMinWarps, kMaxWarps);
  args.x_stride = few_rows_x_stride(work.matrix.format, work.matrix.cols);
  launch_overlapped(stream, dim3{static_cast<unsigned>(args.plan.num_blocks)},
                    dim3{static_cast<unsigned>(args.num_warps * kWarpSize)},
                    few_rows_shared_bytes(work.matrix.format, work.matrix.cols, work.num_rows),
                    few_rows_kernel<Format, X, kForm>, args);
}

template <typename X, Form kForm>
void launch_for_format(GpuStream stream, const LinearWork& work, const RopeStoreArgs& rope) {
  switch (work.matrix.format) {
    case GpuWeightFormat::kBF16:
    case GpuWeightFormat::kF16:  // of the type of x: choose_linear_kernel() has seen to it
      return launch_for<PlainWindow<X>, X, kForm>(stream, work, rope);
    case GpuWeightFormat::kInt8:
      return launch_for<Int8Window<X>, X, kForm>(stream, work, rope);
    case GpuWeightFormat::kInt4:
      if (work.matrix.zeros != nullptr) {
        return launch_for<Int4Window<X, true>, X, kForm>(stream, work, rope);
      }
      return launch_for<Int4Window<X, false>, X, kForm>(stream, work, rope);
  }
}

}  // namespace

void run_few_rows(GpuStream stream, const LinearWork& work) {
  const bool is_bf16 = work.x_type == GpuFloat::kBF16;
  if (work.is_gated) {
    (is_bf16 ? launch_for_format<BF16, Form::kGated>
             : launch_for_format<F16, Form::kGated>)(stream, work, {});
  } else {
    (is_bf16 ? launch_for_format<BF16, Form::kPlain>
             : launch_for_format<F16, Form::kPlain>)(stream, work, {});
  }
}

void run_few_rows_rope(GpuStream stream, const LinearWork& work, const RopeStoreArgs& rope) {
  if (work.x_type == GpuFloat::kBF16) {
    launch_for_format<BF16, Form::kRope>(stream, work, rope);
  } else {
    launch_for_format<F16, Form::kRope>(stream, work, rope);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
