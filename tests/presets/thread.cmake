# SPDX-License-Identifier: MPL-2.0
# cmake -C tests/presets/thread.cmake -S . -B build-thread: for the tests that have threads.
set(CMAKE_BUILD_TYPE Debug CACHE STRING "")
set(VMCTL_TESTS ON CACHE BOOL "")
set(VMCTL_WERROR ON CACHE BOOL "")
set(VMCTL_SANITIZE "thread" CACHE STRING "")
