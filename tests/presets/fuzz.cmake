# SPDX-License-Identifier: MPL-2.0
# cmake -C tests/presets/fuzz.cmake -S . -B build-fuzz: libFuzzer targets, with sanitizers.
set(CMAKE_C_COMPILER clang-14 CACHE STRING "")
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(VMCTL_TESTS ON CACHE BOOL "")
set(VMCTL_FUZZ ON CACHE BOOL "")
set(VMCTL_SANITIZE "address,undefined" CACHE STRING "")
