# SPDX-License-Identifier: MPL-2.0
# The foreign libraries. Debian's libev-dev ships no .pc file, the others do.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(LIBSSH2 REQUIRED IMPORTED_TARGET libssh2)
pkg_check_modules(LIBCURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
find_program(PROTOC_C protoc-c REQUIRED)
pkg_check_modules(LIBZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(LIBWEBSOCKETS IMPORTED_TARGET libwebsockets) # of vmctl-serve alone
find_path(LIBEV_INCLUDE_DIR ev.h REQUIRED)
find_library(LIBEV_LIBRARY ev REQUIRED)
# Its .pc file asks for glib's headers, which its own does not include.
if(VMCTL_SWITCH)
  find_path(SLIRP_INCLUDE_DIR slirp/libslirp.h REQUIRED)
  find_library(SLIRP_LIBRARY slirp REQUIRED)
endif()
# Of nettle two hashes are used, of hogweed, its other half, which builds on gmp, vmctld's keys. Shared,
# nettle's own relocations take half as long again as all else at the start of each command; so the
# archives come first.
find_path(NETTLE_INCLUDE_DIR nettle/sha2.h REQUIRED)
find_library(NETTLE_LIBRARY NAMES libnettle.a nettle REQUIRED)
find_library(HOGWEED_LIBRARY NAMES libhogweed.a hogweed REQUIRED)
find_library(GMP_LIBRARY gmp REQUIRED)
# Shared, libarchive brings libxml2, ICU and libstdc++ for formats that are not read here: four times
# the time that a command takes to start without them.
find_path(LIBARCHIVE_INCLUDE_DIR archive.h REQUIRED)
find_library(LIBARCHIVE_LIBRARY NAMES libarchive.a archive REQUIRED)
find_library(ZLIB_LIBRARY z REQUIRED)
find_library(LZMA_LIBRARY lzma REQUIRED)
find_library(BZIP2_LIBRARY bz2 REQUIRED)
set(ARCHIVE_LIBRARIES ${LIBARCHIVE_LIBRARY} ${ZLIB_LIBRARY} ${LZMA_LIBRARY} ${BZIP2_LIBRARY})
