# SPDX-License-Identifier: MPL-2.0
# cmake -C tests/presets/sanitize.cmake -S . -B build-test: all tests, address and undefined behaviour.
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(VMCTL_TESTS ON CACHE BOOL "")
set(VMCTL_WERROR ON CACHE BOOL "")
set(VMCTL_SANITIZE "address,undefined" CACHE STRING "")
# 200 programs are linked; gold, of the same package as ld, needs a third of its time.
if(EXISTS /usr/bin/ld.gold)
  set(CMAKE_EXE_LINKER_FLAGS "-fuse-ld=gold" CACHE STRING "")
endif()
