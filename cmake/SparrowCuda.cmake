# The CUDA toolkit, where it is there:
#   SPARROW_CUDA                 AUTO (when nvcc is found), ON (or stop) or OFF
#   SPARROW_CUDA_ARCHITECTURES   list of 75 (T4), 80 (A100, A10G, A40, RTX 30), 89 (L4, L40, RTX 40),
#                                90a (H100, H200); sm_75 to sm_90a in one binary: "75;80;89;90a"
# Sets SPARROW_HAVE_CUDA. The runtime is linked statically and looks for the driver at run time, so the
# binary starts on machines without one.
set(SPARROW_CUDA AUTO CACHE STRING "CUDA kernels: AUTO (when nvcc is found), ON or OFF")
set(SPARROW_CUDA_ARCHITECTURES 90a CACHE STRING "GPU architectures: a list of 75, 80, 89, 90a")
set(SPARROW_HAVE_CUDA FALSE)

if(SPARROW_SANITIZE OR SPARROW_FUZZ OR SPARROW_KERNELS_ONLY OR SPARROW_CUDA STREQUAL "OFF")
  return()
endif()
# check_language looks on PATH only; the toolkit is often in its usual place beside it.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_package(CUDAToolkit QUIET)
  if(CUDAToolkit_NVCC_EXECUTABLE)
    set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
  endif()
endif()
include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(SPARROW_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SPARROW_CUDA=ON, but nvcc was not found (set CUDACXX to its path)")
  endif()
  message(STATUS "No CUDA: nvcc was not found; the engine runs on the CPU")
  return()
endif()
set(CMAKE_CUDA_ARCHITECTURES OFF)  # the flags below: CMake 3.25 does not know 90a
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc can
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.4)
  if(SPARROW_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SPARROW_CUDA=ON needs CUDA 12.4 or newer, found ${CMAKE_CUDA_COMPILER_VERSION}")
  endif()
  message(STATUS "No CUDA: ${CMAKE_CUDA_COMPILER_VERSION} is older than 12.4")
  return()
endif()
if(CCACHE_PROGRAM AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

# wgmma and setmaxnreg exist for sm_90a only; nothing newer is promised, so no PTX is embedded.
set(SPARROW_CUDA_FLAGS "")
foreach(architecture ${SPARROW_CUDA_ARCHITECTURES})
  if(NOT architecture MATCHES "^(75|80|89|90a)$")
    message(FATAL_ERROR "SPARROW_CUDA_ARCHITECTURES: ${architecture} is none of 75, 80, 89, 90a")
  endif()
  list(APPEND SPARROW_CUDA_FLAGS
       "SHELL:-gencode=arch=compute_${architecture},code=sm_${architecture}")
endforeach()
# Kernels call constexpr functions that the host uses, too.
list(APPEND SPARROW_CUDA_FLAGS --expt-relaxed-constexpr "SHELL:-Xcompiler=-Wall,-Wextra")
if(SPARROW_WERROR)
  list(APPEND SPARROW_CUDA_FLAGS "SHELL:-Werror=all-warnings")
endif()
find_package(CUDAToolkit REQUIRED)
set(SPARROW_HAVE_CUDA TRUE)
message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION}: kernels for sm_${SPARROW_CUDA_ARCHITECTURES}")

# A library of .cu files and of .cc files that call the CUDA runtime.
function(sparrow_cuda_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_library(sparrow_${name} STATIC ${ARG_SRCS})
  target_include_directories(sparrow_${name} PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_compile_options(sparrow_${name} PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:${SPARROW_CUDA_FLAGS}>"
    "$<$<COMPILE_LANGUAGE:CXX>:${SPARROW_CXX_FLAGS}>")
  string(REPLACE ";" ", sm_" architectures "sm_${SPARROW_CUDA_ARCHITECTURES}")
  target_compile_definitions(sparrow_${name} PRIVATE
                             "SPARROW_CUDA_ARCHITECTURES=\"${architectures}\"")
  list(TRANSFORM ARG_DEPS PREPEND sparrow_)
  target_link_libraries(sparrow_${name} PUBLIC ${ARG_DEPS}
                        PRIVATE CUDA::cudart_static fmt::fmt-header-only)
endfunction()
