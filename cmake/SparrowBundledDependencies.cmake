# Dependencies from one folder, in place of SparrowDependencies.cmake, for machines that have none of our
# packages: ${SPARROW_DEPS_DIR}/include (fmt, spdlog, boost, pcre2.h, utf8proc.h), googletest/ (sources)
# and lib/ (archives). `dev/gpu_check.sh deps` makes it; SparrowEmulatedDependencies.cmake links one
# together for the ARM kernels, which need no archive.
find_package(Threads REQUIRED)
set(include ${SPARROW_DEPS_DIR}/include)
foreach(file include/fmt/format.h include/spdlog/spdlog.h include/boost/version.hpp
        googletest/src/gtest-all.cc)
  if(NOT EXISTS ${SPARROW_DEPS_DIR}/${file})
    message(FATAL_ERROR "${SPARROW_DEPS_DIR}/${file} not found. Run dev/gpu_check.sh deps where the "
            "packages of dev/setup.sh test are, and bring the folder here.")
  endif()
endforeach()

add_library(boost_headers INTERFACE)
target_include_directories(boost_headers SYSTEM INTERFACE ${include})
target_link_libraries(boost_headers INTERFACE Threads::Threads)
add_library(fmt::fmt-header-only INTERFACE IMPORTED)
target_include_directories(fmt::fmt-header-only SYSTEM INTERFACE ${include})
target_compile_definitions(fmt::fmt-header-only INTERFACE FMT_HEADER_ONLY=1)

set(googletest ${SPARROW_DEPS_DIR}/googletest)
add_library(gtest STATIC EXCLUDE_FROM_ALL ${googletest}/src/gtest-all.cc)
target_include_directories(gtest SYSTEM PUBLIC ${googletest}/include PRIVATE ${googletest})
target_link_libraries(gtest PUBLIC Threads::Threads)
add_library(gtest_main STATIC EXCLUDE_FROM_ALL ${googletest}/src/gtest_main.cc)
target_link_libraries(gtest_main PUBLIC gtest)
add_library(GTest::gtest ALIAS gtest)
add_library(GTest::gtest_main ALIAS gtest_main)

if(NOT SPARROW_KERNELS_ONLY)
  foreach(name pcre2-8 utf8proc)  # the names that folders link
    add_library(${name} STATIC IMPORTED GLOBAL)
    set_target_properties(${name} PROPERTIES
      IMPORTED_LOCATION ${SPARROW_DEPS_DIR}/lib/lib${name}.a
      INTERFACE_INCLUDE_DIRECTORIES ${include})
  endforeach()
endif()
