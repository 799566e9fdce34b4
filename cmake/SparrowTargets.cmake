# The functions every folder's CMakeLists.txt uses:
#   sparrow_library(base SRCS status.cc DEPS core)          one static library per folder
#   sparrow_isa_library(kernels_avx2 FLAGS -mavx2 SRCS ...) a part built with instruction set flags
#   sparrow_test(base status_test.cc DEPS ... LABELS unit)  one GoogleTest program per file
#   sparrow_bench(base hash_bench.cc)                       one Google Benchmark program per file
#   sparrow_fuzz(json SRCS fuzz_json.cc DEPS base)          one fuzz target per parser

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Relative paths make the cache serve every checkout; the sloppiness is what precompiled headers need.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE_PROGRAM})
endif()

find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM AND NOT CMAKE_CROSSCOMPILING)
  add_link_options(-fuse-ld=mold)
endif()

if(SPARROW_SANITIZE)
  add_compile_options(-fsanitize=${SPARROW_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SPARROW_SANITIZE})
endif()

# The fuzz preset: every file tells libFuzzer where it was, each target gets its engine.
option(SPARROW_FUZZ "Build the fuzz targets with libFuzzer (needs clang)" OFF)
if(SPARROW_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "libFuzzer comes with clang: use dev/fuzz.sh, or -DCMAKE_CXX_COMPILER=clang++")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# A product of floats is rounded before it is added unless the code says fma: the arithmetic
# contract (docs/architecture.md) asks for the same bits from every file that computes them.
set(SPARROW_WARNINGS -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion
    -Wno-missing-field-initializers)  # designated initialisers leave the rest at its default
if(SPARROW_WERROR)
  list(APPEND SPARROW_WARNINGS -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 warns wrongly inside std::string (GCC bugs 105329, 105651).
  list(APPEND SPARROW_WARNINGS -Wno-restrict -Wno-stringop-overflow)
endif()
if(SPARROW_FUZZ)
  set(SPARROW_WARNINGS -w)  # the ordinary build, with g++, is the one that judges
endif()
set(SPARROW_CXX_FLAGS ${SPARROW_WARNINGS} -ffp-contract=off -fno-math-errno)

# Precompiled standard headers, shared by every ordinary target (same flags, one build).
if(NOT TARGET sparrow_pch)
  if(NOT EXISTS ${CMAKE_BINARY_DIR}/pch.cc)  # written again it would rebuild everything
    file(WRITE ${CMAKE_BINARY_DIR}/pch.cc "")
  endif()
  add_library(sparrow_pch STATIC ${CMAKE_BINARY_DIR}/pch.cc)
  target_compile_options(sparrow_pch PRIVATE ${SPARROW_CXX_FLAGS} -fpch-preprocess)
  target_link_libraries(sparrow_pch PRIVATE fmt::fmt-header-only Threads::Threads)
  target_precompile_headers(sparrow_pch PRIVATE
    <algorithm> <array> <atomic> <chrono> <cstdint> <cstring> <functional> <map> <memory> <mutex>
    <optional> <span> <string> <string_view> <thread> <tuple> <unordered_map> <utility> <variant>
    <vector> <fmt/format.h>)
endif()

function(sparrow_common target)
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_compile_options(${target} PRIVATE ${SPARROW_CXX_FLAGS})
endfunction()

function(sparrow_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS;LIBS" ${ARGN})
  add_library(sparrow_${name} STATIC ${ARG_SRCS})
  sparrow_common(sparrow_${name})
  target_compile_options(sparrow_${name} PRIVATE -fpch-preprocess)
  target_precompile_headers(sparrow_${name} REUSE_FROM sparrow_pch)
  list(TRANSFORM ARG_DEPS PREPEND sparrow_)
  target_link_libraries(sparrow_${name} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_LIBS} fmt::fmt-header-only)
endfunction()

# Files built for one instruction set see intrinsics and plain headers only: no precompiled
# header, so that no inline function of the standard library is emitted with those instructions.
function(sparrow_isa_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;FLAGS" ${ARGN})
  add_library(sparrow_${name} STATIC ${ARG_SRCS})
  sparrow_common(sparrow_${name})
  target_compile_options(sparrow_${name} PRIVATE ${ARG_FLAGS} -O3)
  if(SPARROW_FUZZ)
    # No parser lives here, and instrumented kernels take minutes to compile.
    target_compile_options(sparrow_${name} PRIVATE -fno-sanitize=all)
  endif()
endfunction()

function(sparrow_test folder file)
  if(NOT SPARROW_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "TIMEOUT" "DEPS;LIBS;LABELS;SRCS" ${ARGN})
  get_filename_component(stem ${file} NAME_WE)
  string(REPLACE "/" "_" flat ${folder})
  set(target ${flat}_${stem})
  add_executable(${target} ${file} ${ARG_SRCS})
  sparrow_common(${target})
  target_compile_options(${target} PRIVATE -Wno-sign-conversion -Wno-conversion)
  if(SPARROW_KERNELS_ONLY)
    target_compile_definitions(${target} PRIVATE SPARROW_EMULATED)
  endif()
  list(TRANSFORM ARG_DEPS PREPEND sparrow_)
  if(TARGET sparrow_${flat})
    list(APPEND ARG_DEPS sparrow_${flat})
  endif()
  target_link_libraries(${target} PRIVATE ${ARG_DEPS} ${ARG_LIBS} GTest::gtest GTest::gtest_main
                        fmt::fmt-header-only)
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  # tests_kernels builds the tests of src/kernels.
  string(REGEX REPLACE "/.*" "" top ${folder})
  if(NOT TARGET tests_${top})
    add_custom_target(tests_${top})
  endif()
  add_dependencies(tests_${top} ${target})
  add_test(NAME ${target} COMMAND ${target} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${target} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()

function(sparrow_bench folder file)
  if(NOT TARGET benchmark::benchmark OR NOT SPARROW_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS;SRCS" ${ARGN})
  get_filename_component(stem ${file} NAME_WE)
  string(REPLACE "/" "_" flat ${folder})
  set(target ${flat}_${stem})
  add_executable(${target} EXCLUDE_FROM_ALL ${file} ${ARG_SRCS})
  sparrow_common(${target})
  target_compile_options(${target} PRIVATE -Wno-sign-conversion -Wno-conversion)
  list(TRANSFORM ARG_DEPS PREPEND sparrow_)
  target_link_libraries(${target} PRIVATE ${ARG_DEPS} sparrow_${flat} ${ARG_LIBS}
                        benchmark::benchmark fmt::fmt-header-only)
endfunction()

# The target fuzz_<name>. With SPARROW_FUZZ it is a fuzzer; else, with the tests, it replays the
# corpus tests/fuzz/corpus/<name>.
function(sparrow_fuzz name)
  if(NOT SPARROW_BUILD_TESTS AND NOT SPARROW_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "DEPS;LIBS;SRCS" ${ARGN})
  set(target fuzz_${name})
  add_executable(${target} ${ARG_SRCS})
  sparrow_common(${target})
  target_compile_options(${target} PRIVATE -Wno-sign-conversion -Wno-conversion)
  list(TRANSFORM ARG_DEPS PREPEND sparrow_)
  target_link_libraries(${target} PRIVATE ${ARG_DEPS} ${ARG_LIBS} fmt::fmt-header-only)
  if(SPARROW_FUZZ)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    set_property(GLOBAL APPEND PROPERTY SPARROW_FUZZ_TARGETS ${target})
    return()
  endif()
  target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.cc)
  add_test(NAME ${target} COMMAND ${target} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set_tests_properties(${target} PROPERTIES LABELS "unit;fuzz" TIMEOUT 120)
endfunction()
