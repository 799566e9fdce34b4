# Dependencies of a build with SPARROW_KERNELS_ONLY, in place of SparrowDependencies.cmake: headers of
# the host that know no architecture, each through a link of its own (all of /usr/include would hide
# the target's C library), and GoogleTest from its sources. Programs are static: an emulator needs no
# file of the target then.
find_package(Threads REQUIRED)
set(headers ${CMAKE_BINARY_DIR}/host_headers)
file(MAKE_DIRECTORY ${headers})
foreach(name fmt spdlog boost)
  find_path(SPARROW_HOST_${name} ${name}/version.h ${name}/version.hpp ${name}/format.h
            PATHS ${CMAKE_SOURCE_DIR}/.deps/prefix/usr/include /usr/include NO_DEFAULT_PATH REQUIRED
            NO_CMAKE_FIND_ROOT_PATH)
  file(CREATE_LINK ${SPARROW_HOST_${name}}/${name} ${headers}/${name} SYMBOLIC)
endforeach()

add_library(boost_headers INTERFACE)
target_include_directories(boost_headers SYSTEM INTERFACE ${headers})
target_link_libraries(boost_headers INTERFACE Threads::Threads)
add_library(fmt::fmt-header-only INTERFACE IMPORTED)
target_include_directories(fmt::fmt-header-only SYSTEM INTERFACE ${headers})
target_compile_definitions(fmt::fmt-header-only INTERFACE FMT_HEADER_ONLY=1)

set(SPARROW_GTEST_SOURCE /usr/src/googletest/googletest CACHE PATH "Folder of GoogleTest's sources")
add_library(gtest STATIC EXCLUDE_FROM_ALL ${SPARROW_GTEST_SOURCE}/src/gtest-all.cc)
target_include_directories(gtest SYSTEM PUBLIC ${SPARROW_GTEST_SOURCE}/include
                           PRIVATE ${SPARROW_GTEST_SOURCE})
target_link_libraries(gtest PUBLIC Threads::Threads)
add_library(gtest_main STATIC EXCLUDE_FROM_ALL ${SPARROW_GTEST_SOURCE}/src/gtest_main.cc)
target_link_libraries(gtest_main PUBLIC gtest)
add_library(GTest::gtest ALIAS gtest)
add_library(GTest::gtest_main ALIAS gtest_main)
add_link_options(-static)
