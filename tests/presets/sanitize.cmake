# SPDX-License-Identifier: MPL-2.0
# cmake -C tests/presets/sanitize.cmake -S . -B build-test: all tests, address and undefined behaviour.
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(VMCTL_TESTS ON CACHE BOOL "")
set(VMCTL_WERROR ON CACHE BOOL "")
set(VMCTL_SANITIZE "address,undefined" CACHE STRING "")
