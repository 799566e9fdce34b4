#pragma once
// Which instruction sets this CPU and this build have, and the choice between the kernel tables.
// Thread-safe; detection happens once.
//
//   ASSIGN_OR_RETURN(const Kernels* kernels, select_kernels(""));

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kernels/kernels.h"

namespace sparrow {

struct CpuFeatures {
  bool avx2 = false;       // AVX2, FMA and F16C, enabled by the operating system
  bool avxvnni = false;    // the above and AVX-VNNI, vpdpbusd without AVX-512 (Alder Lake)
  bool avx512 = false;     // AVX-512 F, BW, VL, DQ and VNNI, enabled by the operating system
  bool neon = false;       // Advanced SIMD of ARMv8.0: every 64-bit ARM that runs Linux
  bool dotprod = false;    // sdot and udot (ARMv8.2, the rule since ARMv8.4)
  bool i8mm = false;       // smmla (ARMv8.6) beside them
  std::string model_name;  // of the first CPU, "unknown CPU" if the system does not say
};

const CpuFeatures& cpu_features();

// Every name select_kernels() knows on this architecture, slowest first, as an option lists them.
#if defined(__aarch64__)
inline constexpr char kIsaNames[] = "scalar|neon|neon_dotprod|neon_i8mm";
#else
inline constexpr char kIsaNames[] = "scalar|avx2|avxvnni|avx512";
#endif

// The table for `force` (the value of SPARROW_FORCE_ISA: one of kIsaNames), or the best one for an
// empty string. An unknown name, or one the CPU or the build lacks, is an error that says which.
Result<const Kernels*> select_kernels(std::string_view force);

// Every table this machine can run, scalar first: for tests.
std::vector<const Kernels*> runnable_kernels();

const Kernels& scalar_kernels();

}  // namespace sparrow
