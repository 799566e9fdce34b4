// Takes one id of each row: what the filters keep, then the id at which the running sum in id order
// passes uniform * total, as the CPU does. One block a row; it visits the whole row only when more
// than kMaxCandidates ids may be kept, and otherwise the segments that hold one.
#include "kernels/cuda/sampling/weight_cut.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kMaxSegments = (kGpuMaxVocab + kGpuSamplingSegment) / kGpuSamplingSegment;

struct PickShared {
  CutShared cut;
  int places[kMaxSegments];  // in the list, of a segment's first
  Word list[kMaxCandidates];
  Word warp_best[kPickWarps];
  int id;
};

// One row of a call.
struct PickRow {
  GpuLogitRow row;
  const GpuSamplerSlot* slot;
  RowScratch scratch;
  const float* logits;
  int vocab_size;
  int num_segments;
  Word best;  // key of the largest logit
};

__device__ __forceinline__ double infinity() { return __longlong_as_double(0x7ff0000000000000ll); }

struct Crossing {
  int index;      // the first at which the sum passes the target, else the last above 0, else -1
  bool is_past;   // the sum passed the target
  double before;  // sum of what lies before index, when it did
  double total;   // of all, when it did not
};

// Over value(0), .. value(size - 1), by one warp. Every lane gets the result.
template <typename Value>
__device__ Crossing find_crossing(const Value& value, int size, double before, double target) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  Crossing crossing = {-1, false, before, before};
  for (int begin = 0; begin < size; begin += kWarpSize) {
    const int i = begin + lane;
    const double own = i < size ? value(i) : 0.0;
    const double after = crossing.total + warp_prefix_sum(own);
    const unsigned past = __ballot_sync(kFullWarp, own > 0 && after > target ? 1 : 0);
    if (past != 0) {
      const int first = __ffs(static_cast<int>(past)) - 1;
      const double previous = __shfl_up_sync(kFullWarp, after, 1);
      crossing.before = __shfl_sync(kFullWarp, lane == 0 ? crossing.total : previous, first);
      crossing.index = begin + first;
      crossing.is_past = true;
      return crossing;
    }
    const unsigned above = __ballot_sync(kFullWarp, own > 0 ? 1 : 0);
    if (above != 0) crossing.index = begin + kWarpSize - 1 - __clz(static_cast<int>(above));
    crossing.total = __shfl_sync(kFullWarp, after, kWarpSize - 1);
  }
  return crossing;
}

// Sums of what is kept, by segment of the candidates. A warp a segment.
__device__ void sum_segments(const Candidates& candidates, Word lightest, double* sums) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarpSize;
  for (int segment = thread / kWarpSize; segment * kGpuSamplingSegment < candidates.size;
       segment += kPickWarps) {
    const int begin = segment * kGpuSamplingSegment;
    const int end = min(begin + kGpuSamplingSegment, candidates.size);
    double sum = 0;
    for (int i = begin + lane; i < end; i += kWarpSize) {
      const Word key = candidates.key(i);
      if (key >= lightest) sum += static_cast<double>(weight_in(key));
    }
    sum = warp_sum_double(sum);
    if (lane == 0) sums[segment] = sum;
  }
}

// By one warp: the segment first, then inside it. Where the two sums disagree in their last bits,
// the last id of the segment is taken.
__device__ int pick_in_id_order(const Candidates& candidates, Word lightest, const double* sums,
                                double uniform) {
  const int num_segments = segments_of(candidates.size);
  const auto sum_of = [&](int segment) { return sums[segment]; };
  const double target = uniform * find_crossing(sum_of, num_segments, 0.0, infinity()).total;
  const Crossing segment = find_crossing(sum_of, num_segments, 0.0, target);
  const int begin = segment.index * kGpuSamplingSegment;
  const auto weight_at = [&](int i) {
    const Word key = candidates.key(begin + i);
    return key >= lightest ? static_cast<double>(weight_in(key)) : 0.0;
  };
  const int size = min(kGpuSamplingSegment, candidates.size - begin);
  const Crossing found =
      find_crossing(weight_at, size, segment.before, segment.is_past ? target : infinity());
  return id_of(candidates.key(begin + found.index));
}

// The lowest weight bits that may be kept, rounded down to a bin; its ids are counted in `count`.
__device__ unsigned floor_of(const PickRow& pick, const Limit& limit, CutShared& shared,
                             int& count) {
  const int thread = static_cast<int>(threadIdx.x);
  const GpuSamplerSlot& slot = *pick.slot;
  find_bin(shared, limit, 0, 0.0, 0, kKeyBits - kDigitBits);
  int bin = 0;
  if (shared.found.place < kGpuSamplingBins) bin = kGpuSamplingBins - 1 - shared.found.place;
  // top_p after top_k takes its share of a mass that min_p does not cut.
  const bool top_p_needs_more = slot.top_k > 0 && slot.top_p < 1.0;
  const auto min_bin = static_cast<int>(slot.min_weight_bits >> kBinShift);
  if (!top_p_needs_more && min_bin > bin) bin = min_bin;
  int own = 0;
  for (int i = thread; i < kGpuSamplingBins; i += kPickThreads) {
    if (i >= bin) own += count_of(shared.histogram[i]);
  }
  own = warp_prefix_sum(own);
  __syncthreads();
  if (thread % kWarpSize == kWarpSize - 1) shared.warp_counts[thread / kWarpSize] = own;
  __syncthreads();
  count = 0;
  for (int i = 0; i < kPickWarps; ++i) count += shared.warp_counts[i];
  __syncthreads();
  return static_cast<unsigned>(bin) << kBinShift;
}

// Writes the keys from weight `floor` up to the list, ids ascending: counts by segment, then
// places. The counts lie where the histogram was.
__device__ void collect(const PickRow& pick, const Candidates& row, unsigned floor,
                        PickShared& shared) {
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / kWarpSize, lane = thread % kWarpSize;
  int* places = shared.places;
  const Word lightest = static_cast<Word>(floor == 0 ? 1 : floor) << kIdBits;
  const auto each_of = [&](int segment, const auto& visit) {
    const int begin = segment * kGpuSamplingSegment;
    for (int i = begin; i < min(begin + kGpuSamplingSegment, row.size); i += kWarpSize) {
      const Word key = i + lane < row.size ? row.key(i + lane) : kNoKey;
      visit(key, __ballot_sync(kFullWarp, key >= lightest ? 1 : 0));
    }
  };
  __syncthreads();
  for (int segment = warp; segment < pick.num_segments; segment += kPickWarps) {
    int count = 0;
    if (pick.scratch.heaviest[segment] >= floor) {
      each_of(segment, [&](Word, unsigned kept) { count += __popc(kept); });
    }
    if (lane == 0) places[segment] = count;
  }
  __syncthreads();
  if (warp == 0) {
    int begin = 0;
    for (int first = 0; first < pick.num_segments; first += kWarpSize) {
      const int segment = first + lane;
      const int count = segment < pick.num_segments ? places[segment] : 0;
      const int after = begin + warp_prefix_sum(count);
      if (segment < pick.num_segments) places[segment] = after - count;
      begin = __shfl_sync(kFullWarp, after, kWarpSize - 1);
    }
  }
  __syncthreads();
  for (int segment = warp; segment < pick.num_segments; segment += kPickWarps) {
    if (pick.scratch.heaviest[segment] < floor) continue;
    int place = places[segment];
    each_of(segment, [&](Word key, unsigned kept) {
      if (key >= lightest) shared.list[place + __popc(kept & ((1u << lane) - 1))] = key;
      place += __popc(kept);
    });
  }
  __syncthreads();
}

// What the filters keep: the candidates to look among, and the smallest key. All threads.
__device__ Word filter(const PickRow& pick, Candidates& candidates, PickShared& shared) {
  const GpuSamplerSlot& slot = *pick.slot;
  for (int i = static_cast<int>(threadIdx.x); i < kGpuSamplingBins; i += kPickThreads) {
    shared.cut.histogram[i] = pick.scratch.histogram[i];
  }
  __syncthreads();
  double total = 0;
  Limit limit;
  limit.count = slot.top_k;
  if (slot.top_k == 0) {
    limit.mass = infinity();
    if (slot.top_p < 1.0) {
      find_bin(shared.cut, limit, 0, 0.0, 0, kKeyBits - kDigitBits);
      total = shared.cut.total_mass;
      limit.mass = slot.top_p * total;
      __syncthreads();
    }
  }
  int count = 0;
  const unsigned floor = floor_of(pick, limit, shared.cut, count);
  if (count <= kMaxCandidates) {
    collect(pick, candidates, floor, shared);
    candidates.list = shared.list;
    candidates.size = count;
  }
  Cut cut;
  if (slot.top_k > 0) {
    cut = cut_at(candidates, cut.lightest, limit, true, shared.cut);
    total = cut.mass;
  }
  if (slot.top_p < 1.0) {
    limit.count = 0;
    limit.mass = slot.top_p * total;
    cut = cut_at(candidates, cut.lightest, limit, slot.top_k == 0, shared.cut);
  }
  const Word lightest = static_cast<Word>(slot.min_weight_bits) << kIdBits;
  return lightest > cut.lightest ? lightest : cut.lightest;
}

__device__ int pick_id(const PickRow& pick, PickShared& shared) {
  const GpuSamplerSlot& slot = *pick.slot;
  if (slot.is_greedy != 0) return id_of(pick.best);
  Candidates candidates;
  candidates.logits = pick.logits;
  candidates.maximum = logit_of(pick.best);
  candidates.inverse_temperature = slot.inverse_temperature;
  candidates.size = pick.vocab_size;
  Word lightest = kLightestKey;
  if (uses_filters(slot)) {
    lightest = filter(pick, candidates, shared);
    __syncthreads();
    sum_segments(candidates, lightest, pick.scratch.sums);
    __syncthreads();
  }
  if (threadIdx.x < kWarpSize) {
    const double uniform =
        uniform_number(slot.seed, slot.choice, static_cast<Word>(pick.row.position));
    const int id = pick_in_id_order(candidates, lightest, pick.scratch.sums, uniform);
    if (threadIdx.x == 0) shared.id = id;
  }
  __syncthreads();
  return shared.id;
}

// By one warp: the best of the segments' best, as often as asked; the segment it came from then
// looks for its next.
__device__ int best_logprobs(const PickRow& pick, int count, float log_sum, GpuTokenLogprob* tops) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  int num_found = 0;
  while (num_found < count) {
    Word best = kNoKey;
    for (int i = lane; i < pick.num_segments; i += kWarpSize) {
      best = pick.scratch.best[i] > best ? pick.scratch.best[i] : best;
    }
    best = warp_max_key(best);
    if (best == kNoKey || ordered_of(best) == kOrderedForbidden) break;
    if (lane == 0) tops[num_found] = {id_of(best), __fsub_rn(logit_of(best), log_sum)};
    ++num_found;
    const int segment = id_of(best) / kGpuSamplingSegment;
    const int begin = segment * kGpuSamplingSegment;
    const int end = min(begin + kGpuSamplingSegment, pick.vocab_size);
    Word next = kNoKey;
    for (int i = begin + lane; i < end; i += kWarpSize) {
      const Word key = logit_key(pick.logits[i], i);
      if (key < best && key > next) next = key;
    }
    next = warp_max_key(next);
    if (lane == 0) pick.scratch.best[segment] = next;
    __syncwarp();
  }
  return num_found;
}

__global__ void __launch_bounds__(kPickThreads) pick_tokens_kernel(const SampleArgs args) {
  __shared__ PickShared shared;
  PickRow pick;
  pick.row = args.rows[blockIdx.x];
  GpuSampledToken token;
  if (pick.row.slot < 0) {
    if (threadIdx.x == 0) args.out[blockIdx.x] = token;
    return;
  }
  pick.slot = &args.states.slots[pick.row.slot];
  pick.scratch = row_scratch(args, blockIdx.x);
  pick.vocab_size = args.states.vocab_size;
  pick.num_segments = segments_of(pick.vocab_size);
  pick.logits = args.logits + static_cast<int64_t>(blockIdx.x) * pick.vocab_size;
  pick.best = block_best_key(pick.scratch.best, pick.num_segments, shared.warp_best);
  if (pick.best == kNotFiniteKey || ordered_of(pick.best) == kOrderedForbidden) {
    token.not_finite = 1;
    if (threadIdx.x == 0) args.out[blockIdx.x] = token;
    return;
  }
  token.id = pick_id(pick, shared);
  if (threadIdx.x >= kWarpSize) return;
  const int num_top = pick.slot->num_top_logprobs;
  if (num_top >= 0) {
    const auto sum_of = [&](int segment) { return pick.scratch.exp_sums[segment]; };
    const double sum = find_crossing(sum_of, pick.num_segments, 0.0, infinity()).total;
    const float log_sum = __fadd_rn(logit_of(pick.best), logf(static_cast<float>(sum)));
    token.logprob = __fsub_rn(pick.logits[token.id], log_sum);
    token.num_top =
        best_logprobs(pick, num_top, log_sum, args.tops + int64_t{blockIdx.x} * kGpuMaxTopLogprobs);
  }
  if (threadIdx.x == 0) args.out[blockIdx.x] = token;
}

}  // namespace

void pick_tokens(GpuStream stream, const SampleArgs& args) {
  launch(stream, dim3{static_cast<unsigned>(args.num_rows)}, dim3{kPickThreads}, 0,
         pick_tokens_kernel, args);
}

void sample(GpuStream stream, const SampleArgs& args) {
  if (args.num_rows == 0) return;
  edit_logits(stream, args);
  weigh_logits(stream, args);
  pick_tokens(stream, args);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
