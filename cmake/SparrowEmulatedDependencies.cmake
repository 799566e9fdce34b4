# Dependencies of a build with SPARROW_KERNELS_ONLY, in place of SparrowDependencies.cmake: headers of
# the host that know no architecture, each through a link of its own (all of /usr/include would hide
# the target's C library), and GoogleTest from its sources. Programs are static: an emulator needs no
# file of the target then.
set(SPARROW_DEPS_DIR ${CMAKE_BINARY_DIR}/host_dependencies)
file(MAKE_DIRECTORY ${SPARROW_DEPS_DIR}/include)
foreach(name fmt spdlog boost)
  find_path(SPARROW_HOST_${name} ${name}/version.h ${name}/version.hpp ${name}/format.h
            PATHS ${CMAKE_SOURCE_DIR}/.deps/prefix/usr/include /usr/include NO_DEFAULT_PATH REQUIRED
            NO_CMAKE_FIND_ROOT_PATH)
  file(CREATE_LINK ${SPARROW_HOST_${name}}/${name} ${SPARROW_DEPS_DIR}/include/${name} SYMBOLIC)
endforeach()
set(SPARROW_GTEST_SOURCE /usr/src/googletest/googletest CACHE PATH "Folder of GoogleTest's sources")
file(CREATE_LINK ${SPARROW_GTEST_SOURCE} ${SPARROW_DEPS_DIR}/googletest SYMBOLIC)
include(SparrowBundledDependencies)
add_link_options(-static)
