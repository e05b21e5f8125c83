/* SPDX-License-Identifier: MPL-2.0 */
/* Base64 (RFC 4648, section 4), as SSH's key files and fingerprints use it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;

/* Appends without padding, as OpenSSH shows fingerprints. */
void base64_encode(struct buf *out, const void *bytes, size_t n);

/* Appends the decoded bytes of `n` characters, padded or not; false when they are not base64. */
bool base64_decode(struct buf *out, const char *text, size_t n);
