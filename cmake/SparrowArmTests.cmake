# Kernels of 64-bit ARM on an x86 machine: the lower folders and their tests are built a second time by
# the cross compiler (a CMake project in build/<preset>/aarch64, by SPARROW_KERNELS_ONLY) and run under
# qemu-aarch64, on a CPU for each kernel table. Results are compared; emulation says nothing of speed.
set(SPARROW_ARM_TESTS
    tensor_half_test quant_block_vectors_test quant_convert_int_groups_test quant_convert_row_test
    kernels_cpu_features_test kernels_packed_matrix_test kernels_kernels_test
    kernels_kernels_attention_test)

if(SPARROW_KERNELS_ONLY)
  add_custom_target(arm_tests DEPENDS ${SPARROW_ARM_TESTS})
  return()
endif()
if(SPARROW_SANITIZE OR SPARROW_FUZZ OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  return()
endif()

find_program(SPARROW_AARCH64_CXX aarch64-linux-gnu-g++)
find_program(SPARROW_QEMU_AARCH64 NAMES qemu-aarch64-static qemu-aarch64)
find_path(SPARROW_GTEST_SOURCE src/gtest-all.cc PATHS /usr/src/googletest/googletest NO_DEFAULT_PATH)
set(missing "")
if(NOT SPARROW_AARCH64_CXX)
  list(APPEND missing g++-aarch64-linux-gnu)
endif()
if(NOT SPARROW_QEMU_AARCH64)
  list(APPEND missing qemu-user-static)
endif()
if(NOT SPARROW_GTEST_SOURCE)
  list(APPEND missing googletest)
endif()
if(missing)
  list(JOIN missing "," packages)
  set(name aarch64_skipped_without_${packages})
  add_test(NAME ${name} COMMAND ${CMAKE_COMMAND} -E echo
           "SKIPPED: the ARM kernels are not tested without ${packages}; dev/setup.sh test installs them")
  set_tests_properties(${name} PROPERTIES LABELS unit SKIP_REGULAR_EXPRESSION "SKIPPED")
  return()
endif()

include(ExternalProject)
include(ProcessorCount)
ProcessorCount(num_cores)
math(EXPR jobs "(${num_cores} + 1) / 2")  # it runs beside the main build
set(arm_build ${CMAKE_BINARY_DIR}/aarch64)
ExternalProject_Add(arm_kernels
  SOURCE_DIR ${CMAKE_SOURCE_DIR}
  PREFIX ${CMAKE_BINARY_DIR}/aarch64_project
  BINARY_DIR ${arm_build}
  CMAKE_ARGS -DCMAKE_TOOLCHAIN_FILE=${CMAKE_SOURCE_DIR}/cmake/toolchains/aarch64-linux-gnu.cmake
             -DSPARROW_KERNELS_ONLY=ON -DSPARROW_BUILD_TESTS=ON -DCMAKE_BUILD_TYPE=Release
             -DSPARROW_GTEST_SOURCE=${SPARROW_GTEST_SOURCE}
  BUILD_COMMAND ${CMAKE_COMMAND} --build <BINARY_DIR> --target arm_tests --parallel ${jobs}
  BUILD_ALWAYS ON
  INSTALL_COMMAND ""
  LOG_BUILD ON
  LOG_OUTPUT_ON_FAILURE ON)

# sparrow_arm_test(<test> CPU <model of qemu> ISA <table it must choose> [FILTER <GoogleTest filter>])
function(sparrow_arm_test test)
  cmake_parse_arguments(ARG "" "CPU;ISA;FILTER" "" ${ARGN})
  string(REGEX MATCH "^[a-z]+" folder ${test})
  set(name aarch64_${ARG_CPU}_${test})
  if(test STREQUAL kernels_kernels_test)
    string(APPEND name _fewer_sizes)  # SPARROW_EMULATED
  endif()
  if(ARG_FILTER)
    string(APPEND name _part)
    list(APPEND arguments --gtest_filter=${ARG_FILTER})
  endif()
  add_test(NAME ${name}
           COMMAND ${SPARROW_QEMU_AARCH64} -cpu ${ARG_CPU} ${arm_build}/src/${folder}/${test} ${arguments}
           WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "unit;aarch64" TIMEOUT 600
                       ENVIRONMENT "SPARROW_TEST_ISA=${ARG_ISA}")
endfunction()

foreach(test ${SPARROW_ARM_TESTS})
  sparrow_arm_test(${test} CPU max ISA neon_i8mm)
endforeach()
# CPUs that lack instructions must not meet them: no i8mm (as in the RK3588), no dot product (Raspberry
# Pi 4).
foreach(cpu_isa cortex-a76=neon_dotprod cortex-a72=neon)
  string(REGEX MATCH "^[^=]*" cpu ${cpu_isa})
  string(REGEX MATCH "[^=]*$" isa ${cpu_isa})
  sparrow_arm_test(kernels_cpu_features_test CPU ${cpu} ISA ${isa})
  sparrow_arm_test(kernels_kernels_test CPU ${cpu} ISA ${isa}
                   FILTER Gemm.ExtremeBytes*:Quantize.*:RowKernels.*:Probes.*)
  sparrow_arm_test(kernels_kernels_attention_test CPU ${cpu} ISA ${isa}
                   FILTER Attention.ScoreBias*:KvStore.*:SumWaves.*)
endforeach()
