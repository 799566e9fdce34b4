// The fast kernels built for avxvnni, and for tests avxvnni_evex (simd_avxvnni.inc). Only
// intrinsics and plain headers may be included here: an inline function of the standard library
// would be emitted with instructions other CPUs lack.

#include <immintrin.h>

#include "kernels/exp_constants.h"
#include "kernels/int8_row.h"
#include "kernels/kernels.h"
#include "kernels/strip_layout.h"
#include "tensor/half.h"

#ifdef SPARROW_AVXVNNI_EVEX
#define SPARROW_VNNI_ENCODING "%{evex%}"
#endif

namespace sparrow {
namespace {

#include "kernels/avxvnni/simd_avxvnni.inc"
// Needs the vector layer.
#include "kernels/fast/fast_kernels.inc"

#ifdef SPARROW_AVXVNNI_EVEX
constexpr Kernels kTable = make_table("avxvnni_evex");
#else
constexpr Kernels kTable = make_table("avxvnni");
#endif

}  // namespace

#ifdef SPARROW_AVXVNNI_EVEX
const Kernels* avxvnni_evex_kernels();
const Kernels* avxvnni_evex_kernels() { return &kTable; }
#else
const Kernels* avxvnni_kernels();
const Kernels* avxvnni_kernels() { return &kTable; }
#endif

}  // namespace sparrow
