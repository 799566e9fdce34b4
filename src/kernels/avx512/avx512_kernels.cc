// The fast kernels built for avx512. Only intrinsics and plain headers may be included here: an
// inline function of the standard library would be emitted with instructions other CPUs lack.

#include <immintrin.h>

#include "kernels/exp_constants.h"
#include "kernels/int8_row.h"
#include "kernels/kernels.h"
#include "kernels/strip_layout.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

#include "kernels/avx512/simd_avx512.inc"
// Needs the vector layer.
#include "kernels/fast/fast_kernels.inc"

constexpr Kernels kTable = make_table("avx512");

}  // namespace

const Kernels* avx512_kernels();
const Kernels* avx512_kernels() { return &kTable; }

}  // namespace sparrow
