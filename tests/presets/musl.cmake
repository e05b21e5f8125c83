# SPDX-License-Identifier: MPL-2.0
# cmake -DCMAKE_TOOLCHAIN_FILE=tests/presets/musl.cmake: against musl, static, with the libraries that tests/support/musl
# has built in $VMCTL_MUSL.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER musl-gcc)
set(CMAKE_FIND_ROOT_PATH $ENV{VMCTL_MUSL})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} $ENV{VMCTL_MUSL}/lib/pkgconfig)
set(VMCTL_SWITCH OFF CACHE BOOL "" FORCE)
# Its ioctl() takes an int, and the kernel's numbers are not all of them.
set(CMAKE_C_FLAGS_INIT "-isystem $ENV{VMCTL_MUSL}/include -Wno-overflow")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static -no-pie")
set(CMAKE_C_STANDARD_LIBRARIES "-L$ENV{VMCTL_MUSL}/lib -lssh2 -lcurl -lmbedtls -lmbedx509 -lmbedcrypto -lz")
# The programs run here: vmctl writes its own completions.
set(CMAKE_CROSSCOMPILING_EMULATOR env)
