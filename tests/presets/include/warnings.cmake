# SPDX-License-Identifier: MPL-2.0
# The warnings every source is built with, by gcc 12 and clang 14 alike.
add_compile_options(
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes
  -Wmissing-prototypes -Wformat=2 -Wvla -Wcast-qual -Wimplicit-fallthrough -Wundef)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wduplicated-cond -Wlogical-op)
endif()
if(VMCTL_WERROR)
  add_compile_options(-Werror)
endif()
