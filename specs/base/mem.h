/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Allocation that does not fail: out of memory ends the process with a message.
 *
 * That is safe here and simpler than an error path behind every string: vmctld may be killed at any
 * instruction without losing anything (README, "Crash safety"), and libev does the same inside.
 * Everything that grows with outside input has its own maximum instead (buf.h, kdl.h).
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/* Zeroed memory for `count` objects of `size` bytes; free() it. */
void *mem_calloc(size_t count, size_t size);

/* realloc() that does not fail; `count` × `size` is checked for overflow. */
void *mem_resize(void *p, size_t count, size_t size);

/* Copies; NULL gives NULL. */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);
void *mem_dup(const void *p, size_t n);

/* A printf into fresh memory. */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *mem_vprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* Overwrites a secret or a private key and frees it; NULL is fine. */
void mem_wipe(void *p, size_t n);
void mem_wipe_text(char *s);

#define mem_new(type) ((type *)mem_calloc(1, sizeof(type)))

/* Makes room for one more element of array `a` holding `n`; the capacity follows from `n`. */
#define mem_grow(a, n)                                                                             \
    do {                                                                                           \
        if (((n) & ((n)-1)) == 0) {                                                                \
            (a) = mem_resize((a), (n) ? (n)*2 : 1, sizeof(*(a)));                                  \
        }                                                                                          \
    } while (0)
