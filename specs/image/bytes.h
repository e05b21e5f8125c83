/* SPDX-License-Identifier: MPL-2.0 */
/* Integers in the headers of disk images, and in keys. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The big-endian integer of `n` (at most 8) bytes. */
static inline uint64_t bytes_big(const uint8_t *p, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

/* The little-endian one. */
static inline uint64_t bytes_little(const uint8_t *p, size_t n)
{
    uint64_t value = 0;
    while (n > 0) {
        value = value << 8 | p[--n];
    }
    return value;
}

/* Writes an integer as `n` big-endian bytes. */
static inline void bytes_put_big(uint8_t *p, uint64_t value, size_t n)
{
    for (; n > 0; value >>= 8) {
        p[--n] = (uint8_t)value;
    }
}
