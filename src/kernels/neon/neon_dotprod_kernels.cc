// The fast kernels built for neon_dotprod. Only intrinsics and plain headers may be included here:
// an inline function of the standard library would be emitted with instructions other CPUs lack.

#include <arm_neon.h>

#include "kernels/exp_constants.h"
#include "kernels/int8_row.h"
#include "kernels/kernels.h"
#include "kernels/strip_layout.h"
#include "tensor/half.h"

namespace sparrow {
namespace {

#include "kernels/neon/simd_neon.inc"
// Needs the vector layer.
#define SPARROW_NEON_PRODUCTS "kernels/neon/neon_products_dotprod.inc"
#define SPARROW_GEMM_CODES "kernels/neon/neon_gemm_codes.inc"
#include "kernels/fast/fast_kernels.inc"

constexpr Kernels kTable = make_table("neon_dotprod");

}  // namespace

const Kernels* neon_dotprod_kernels();
const Kernels* neon_dotprod_kernels() { return &kTable; }

}  // namespace sparrow
