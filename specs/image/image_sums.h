/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A publisher's list of check sums, as sha256sum and sha512sum write it ("HEX  NAME", "HEX *NAME"),
 * with BSD's form ("SHA512 (NAME) = HEX"), signed in clear or not; or one check sum alone. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { IMAGE_SUM_SIZE = 129 }; /* a sha512 in hexadecimal digits, and its end */

/* The check sum of a file, in lower case: 64 digits are a sha256, 128 a sha512. The longer one
 * counts where the list has both. False: the list has none for it. */
bool image_sums_find(const char *list, size_t n, const char *file, char ret_hex[IMAGE_SUM_SIZE]);
