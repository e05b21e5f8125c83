# SPDX-License-Identifier: MPL-2.0
# cmake -C tests/presets/release.cmake -S . -B build: hardened, warnings are errors.
set(CMAKE_BUILD_TYPE Release CACHE STRING "")
set(VMCTL_WERROR ON CACHE BOOL "")
