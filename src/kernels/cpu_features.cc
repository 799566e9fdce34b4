#include "kernels/cpu_features.h"

#include <fmt/format.h>

#include <fstream>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#ifndef HWCAP2_I8MM  // before Linux 5.10
#define HWCAP2_I8MM (1 << 13)
#endif
#endif

namespace sparrow {

// Defined by the ISA libraries the build has (src/kernels/CMakeLists.txt).
#if defined(__aarch64__)
const Kernels* neon_kernels();
const Kernels* neon_dotprod_kernels();
const Kernels* neon_i8mm_kernels();
#else
#ifdef SPARROW_HAVE_AVX2
const Kernels* avx2_kernels();
#else
static const Kernels* avx2_kernels() { return nullptr; }
#endif
#ifdef SPARROW_HAVE_AVXVNNI
const Kernels* avxvnni_kernels();
#else
static const Kernels* avxvnni_kernels() { return nullptr; }
#endif
#ifdef SPARROW_HAVE_AVX512
const Kernels* avx512_kernels();
#else
static const Kernels* avx512_kernels() { return nullptr; }
#endif
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
  // On ARM Linux names the board instead, as in "Raspberry Pi 4 Model B Rev 1.4".
  std::ifstream board("/proc/device-tree/model");
  if (std::getline(board, line, '\0') && !line.empty()) return line;
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
  unsigned leaf_1 = 0, other_b = 0, other_c = 0, other_d = 0;
  if (a >= 1) __cpuid_count(7, 1, leaf_1, other_b, other_c, other_d);
  features.avxvnni = features.avx2 && (leaf_1 & (1u << 4)) != 0;
  const unsigned wanted = bit_AVX512F | bit_AVX512BW | bit_AVX512VL | bit_AVX512DQ;
  const bool has_vnni = (c & (1u << 11)) != 0;
  features.avx512 = features.avx2 && (b & wanted) == wanted && has_vnni && zmm_state;
#elif defined(__aarch64__) && defined(__linux__)
  // Linux, Documentation/arch/arm64/elf_hwcaps.rst.
  const unsigned long capabilities = getauxval(AT_HWCAP), more = getauxval(AT_HWCAP2);
  features.neon = (capabilities & HWCAP_ASIMD) != 0;
  features.dotprod = features.neon && (capabilities & HWCAP_ASIMDDP) != 0;
  features.i8mm = features.dotprod && (more & HWCAP2_I8MM) != 0;
#endif
  return features;
}

struct Isa {
  const char* name;
  bool in_cpu;
  const Kernels* kernels;  // null: not in this build
};

// From the slowest to the fastest, the names of kIsaNames.
std::vector<Isa> known_isas() {
  const CpuFeatures& cpu = cpu_features();
  std::vector<Isa> isas = {{"scalar", true, &scalar_kernels()}};
#if defined(__aarch64__)
  isas.push_back({"neon", cpu.neon, neon_kernels()});
  isas.push_back({"neon_dotprod", cpu.dotprod, neon_dotprod_kernels()});
  isas.push_back({"neon_i8mm", cpu.i8mm, neon_i8mm_kernels()});
#else
  isas.push_back({"avx2", cpu.avx2, avx2_kernels()});
  isas.push_back({"avxvnni", cpu.avxvnni, avxvnni_kernels()});
  isas.push_back({"avx512", cpu.avx512, avx512_kernels()});
#endif
  return isas;
}

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

std::vector<const Kernels*> runnable_kernels() {
  std::vector<const Kernels*> tables;
  for (const Isa& isa : known_isas()) {
    if (isa.in_cpu && isa.kernels != nullptr) tables.push_back(isa.kernels);
  }
  return tables;
}

Result<const Kernels*> select_kernels(std::string_view force) {
  if (force.empty()) return runnable_kernels().back();
  std::string names;
  const std::vector<Isa> isas = known_isas();
  for (const Isa& isa : isas) {
    if (force == isa.name) {
      if (isa.kernels == nullptr) {
        return failed_precondition(
            fmt::format("SPARROW_FORCE_ISA={}: this build has no kernels for it", force));
      }
      if (isa.in_cpu) return isa.kernels;
      return failed_precondition(fmt::format("SPARROW_FORCE_ISA={}: this CPU ({}) lacks it", force,
                                             cpu_features().model_name));
    }
    names += names.empty() ? "" : &isa == &isas.back() ? " or " : ", ";
    names += isa.name;
  }
  return invalid_argument(
      fmt::format("SPARROW_FORCE_ISA={}: unknown instruction set ({})", force, names));
}

}  // namespace sparrow
