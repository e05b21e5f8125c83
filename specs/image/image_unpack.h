/* SPDX-License-Identifier: MPL-2.0 */
/* The beginning of what packed bytes become, without a file for it: to look into a disk before all
 * of it is unpacked. */
#pragma once

#include <stddef.h>

/* gzip, xz, bzip2 or zstd. The number of bytes at `ret`, at most `n_ret`; 0: they are none of
 * these, or damaged. Never more than what `n` bytes hold. */
size_t image_unpack(const void *bytes, size_t n, void *ret, size_t n_ret);

/* The same of a deflate stream without a head, as clusters of qcow2 files have it. */
size_t image_inflate(const void *bytes, size_t n, void *ret, size_t n_ret);
