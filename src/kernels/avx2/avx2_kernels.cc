// The fast kernels built for avx2. Only intrinsics and plain headers may be included here: an
// inline function of the standard library would be emitted with instructions other CPUs lack.

#include <immintrin.h>

#include "kernels/exp_constants.h"
#include "kernels/int8_row.h"
#include "kernels/kernels.h"
#include "kernels/strip_layout.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

#include "kernels/avx2/simd_avx2.inc"
// Needs the vector layer.
#include "kernels/fast/fast_kernels.inc"

constexpr Kernels kTable = make_table("avx2");

}  // namespace

const Kernels* avx2_kernels();
const Kernels* avx2_kernels() { return &kTable; }

}  // namespace sparrow
