#include "kernels/cpu_features.h"

#include <fmt/format.h>

#include <fstream>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace sparrow {

// Defined by the ISA libraries the build has (src/kernels/CMakeLists.txt).
#ifdef SPARROW_HAVE_AVX2
const Kernels* avx2_kernels();
#else
static const Kernels* avx2_kernels() { return nullptr; }
#endif
#ifdef SPARROW_HAVE_AVX512
const Kernels* avx512_kernels();
#else
static const Kernels* avx512_kernels() { return nullptr; }
#endif

namespace {

std::string read_model_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line)) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown CPU";
}

CpuFeatures detect() {
  CpuFeatures features;
  features.model_name = read_model_name();
#if defined(__x86_64__)
  // Intel SDM volume 1, 14.3 and 15.2: the CPU has the instructions and the system saves the state.
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return features;
  const bool has_fma = (c & bit_FMA) != 0 && (c & bit_F16C) != 0;
  unsigned state_low = 0, state_high = 0;
  __asm__("xgetbv" : "=a"(state_low), "=d"(state_high) : "c"(0));
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return features;
  const bool ymm_state = (state_low & 0x06) == 0x06;
  const bool zmm_state = (state_low & 0xe6) == 0xe6;
  features.avx2 = has_fma && (b & bit_AVX2) != 0 && ymm_state;
  const unsigned wanted = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
  const bool has_vnni = (c & (1u << 11)) != 0;
  features.avx512 = features.avx2 && (b & wanted) == wanted && has_vnni && zmm_state;
#endif
  return features;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

std::vector<const Kernels*> runnable_kernels() {
  std::vector<const Kernels*> tables = {&scalar_kernels()};
  if (cpu_features().avx2 && avx2_kernels() != nullptr) tables.push_back(avx2_kernels());
  if (cpu_features().avx512 && avx512_kernels() != nullptr) tables.push_back(avx512_kernels());
  return tables;
}

Result<const Kernels*> select_kernels(std::string_view force) {
  const std::vector<const Kernels*> tables = runnable_kernels();
  if (force.empty()) return tables.back();
  for (const Kernels* table : tables) {
    if (force == table->name) return table;
  }
  const bool known = force == "avx2" || force == "avx512";
  if (!known) {
    return invalid_argument(fmt::format(
        "SPARROW_FORCE_ISA={}: unknown instruction set (scalar, avx2 or avx512)", force));
  }
  const bool in_build = force == "avx2" ? avx2_kernels() != nullptr : avx512_kernels() != nullptr;
  return failed_precondition(
      in_build ? fmt::format("SPARROW_FORCE_ISA={}: this CPU ({}) lacks it", force,
                             cpu_features().model_name)
               : fmt::format("SPARROW_FORCE_ISA={}: this build has no kernels for it", force));
}

}  // namespace sparrow
