# 64-bit ARM Linux with Debian's cross compiler (package g++-aarch64-linux-gnu); programs run under
# qemu-aarch64 where it is there.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
find_program(SPARROW_QEMU_AARCH64 NAMES qemu-aarch64-static qemu-aarch64)
if(SPARROW_QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${SPARROW_QEMU_AARCH64} -cpu max)
endif()
# The host's libraries are of no use here.
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
