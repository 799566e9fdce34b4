#pragma once
// Where the filters cut: the smallest weight key that top_k or top_p keeps, found by radix
// selection (histograms of 10 bits of the key after the other), never by sorting. One block.

#include "kernels/cuda/sampling/sample_steps.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {

constexpr int kPickThreads = 512;
constexpr int kPickWarps = kPickThreads / kWarpSize;
constexpr int kMaxCandidates = 2048;
constexpr int kDigitBits = 10;
constexpr int kKeyBits = 5 * kDigitBits;           // 30 of the weight, 20 of the id
constexpr Word kLightestKey = Word{1} << kIdBits;  // below it lie weights of 0
static_assert(1 << kDigitBits == kGpuSamplingBins && kKeyBits - kDigitBits - kIdBits == kBinShift);
static_assert(kGpuSamplingBins == 2 * kPickThreads, "a thread looks at two bins");

// What may be kept, ids ascending: a list, or the whole row, whose weights are then computed anew.
struct Candidates {
  const float* logits = nullptr;
  float maximum = 0;
  float inverse_temperature = 0;
  const Word* list = nullptr;  // of keys; null: the whole row
  int size = 0;

  __device__ __forceinline__ Word key(int i) const {
    if (list != nullptr) return list[i];
    return weight_key(__float_as_uint(weight_of(logits[i], maximum, inverse_temperature)), i);
  }
};
__device__ __forceinline__ float weight_in(Word key) {
  return __uint_as_float(static_cast<unsigned>(key >> kIdBits));
}

// Keeps the fewest heaviest: `count` of them, or, with count 0, those whose mass reaches `mass`.
struct Limit {
  int count = 0;
  double mass = 0;
  __device__ bool is_reached(int by_count, double by_mass) const {
    return count > 0 ? by_count >= count : by_mass >= mass;
  }
};

struct FoundBin {
  int place;  // from the heaviest, 0..kGpuSamplingBins - 1; kGpuSamplingBins: the limit is not
              // reached
  int count_before, count;  // in heavier bins; in this one
  double mass_before, mass;
};

struct CutShared {
  Word histogram[kGpuSamplingBins];
  int warp_counts[kPickWarps];
  double warp_masses[kPickWarps];
  FoundBin found;
  int total_count;
  double total_mass;
};

// The first bin from the top of shared.histogram at which the limit is reached, and the totals.
// Bin b holds the keys with prefix << 10 | b above their lowest `shift` bits; `count` and `mass`
// are of the keys above all of them.
__device__ inline void find_bin(CutShared& shared, const Limit& limit, int count, double mass,
                                Word prefix, int shift) {
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / kWarpSize;
  int counts[2];
  double masses[2];
  for (int i = 0; i < 2; ++i) {
    const int digit = kGpuSamplingBins - 1 - (2 * thread + i);
    const Word key = (prefix << kDigitBits | static_cast<Word>(digit)) << shift;
    const Word bin = shared.histogram[digit];
    counts[i] = count_of(bin);
    masses[i] = mass_of(bin, static_cast<int>(key >> (kIdBits + 23)));
  }
  const int prefix_count = warp_prefix_sum(counts[0] + counts[1]);
  const double prefix_mass = warp_prefix_sum(masses[0] + masses[1]);
  if (thread == 0) shared.found.place = kGpuSamplingBins;
  if (thread % kWarpSize == kWarpSize - 1) {
    shared.warp_counts[warp] = prefix_count;
    shared.warp_masses[warp] = prefix_mass;
  }
  __syncthreads();
  for (int i = 0; i < warp; ++i) {
    count += shared.warp_counts[i];
    mass += shared.warp_masses[i];
  }
  const int count_after[2] = {count + prefix_count - counts[1], count + prefix_count};
  const double mass_after[2] = {mass + (prefix_mass - masses[1]), mass + prefix_mass};
  for (int i = 0; i < 2; ++i) {
    if (!limit.is_reached(count_after[i], mass_after[i])) continue;
    atomicMin(&shared.found.place, 2 * thread + i);
    break;
  }
  if (thread == kPickThreads - 1) {
    shared.total_count = count_after[1];
    shared.total_mass = mass_after[1];
  }
  __syncthreads();
  const int place = shared.found.place;
  if (place / 2 == thread) {
    const bool is_first = place % 2 == 0;
    shared.found.count = is_first ? counts[0] : counts[1];
    shared.found.mass = is_first ? masses[0] : masses[1];
    shared.found.count_before = is_first ? count_after[0] - counts[0] : count_after[0];
    shared.found.mass_before = is_first ? mass_after[0] - masses[0] : mass_after[0];
  }
  __syncthreads();
}

struct Cut {
  Word lightest = kLightestKey;  // the smallest key kept
  double mass = 0;               // of all kept
};

// Adds the candidates' keys whose bits above shift + kDigitBits are `prefix`.
__device__ inline void fill_histogram(const Candidates& candidates, Word lightest, Word prefix,
                                      int shift, CutShared& shared) {
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  for (int i = thread; i < kGpuSamplingBins; i += kPickThreads) shared.histogram[i] = 0;
  __syncthreads();
  for (int i = thread; i < candidates.size; i += kPickThreads) {
    const Word key = candidates.key(i);
    if (key < lightest || key >> (shift + kDigitBits) != prefix) continue;
    const auto digit = static_cast<int>(key >> shift) & (kGpuSamplingBins - 1);
    const Word mantissa = mantissa_of(static_cast<unsigned>(key >> kIdBits));
    atomicAdd(&shared.histogram[digit], Word{1} << kCountShift | mantissa);
  }
  __syncthreads();
}

// Among the candidates from the key `lightest` up. A limit that is not reached cuts nothing. With
// `has_histogram` the one of the weights' top bits is there already, of the whole row.
__device__ inline Cut cut_at(const Candidates& candidates, Word lightest, const Limit& limit,
                             bool has_histogram, CutShared& shared) {
  Word prefix = 0;  // of the keys of the bin that is looked into
  int count = 0;    // above it
  double mass = 0;
  for (int shift = kKeyBits - kDigitBits;; shift -= kDigitBits) {
    if (!has_histogram) fill_histogram(candidates, lightest, prefix, shift, shared);
    has_histogram = false;
    find_bin(shared, limit, count, mass, prefix, shift);
    const FoundBin found = shared.found;
    if (found.place == kGpuSamplingBins) {
      // Nothing to cut; or, within a bin, another order of the same sum fell short of the limit.
      const Word first_of_bin = prefix << (shift + kDigitBits);
      return {first_of_bin > lightest ? first_of_bin : lightest, shared.total_mass};
    }
    prefix = prefix << kDigitBits | static_cast<Word>(kGpuSamplingBins - 1 - found.place);
    count = found.count_before;
    mass = found.mass_before;
    // At the last level a bin is one id.
    const bool is_whole =
        found.count == 1 || (limit.count > 0 && count + found.count == limit.count);
    if (is_whole) {
      const Word first_of_bin = prefix << shift;
      return {first_of_bin > lightest ? first_of_bin : lightest, mass + found.mass};
    }
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
