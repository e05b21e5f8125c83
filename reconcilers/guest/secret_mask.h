/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Masks secrets in a guest's output as it arrives: each of their bytes becomes a '*', so that
 * offsets in the output stay the same. The lines of a multi-line secret are also masked on their
 * own, except short ones, which occur in other text, too.
 */
#pragma once

#include <stddef.h>

struct secret_mask;

typedef void secret_mask_fn(void *context, const char *bytes, size_t n);

/* Copies the values; secret_mask_free() overwrites them. */
struct secret_mask *secret_mask_new(const char *const *values, size_t count);
void secret_mask_free(struct secret_mask *mask); /* NULL is fine */

/* Hands on what is certain by now; what may be the beginning of a secret is kept back until more
 * has come, or secret_mask_flush(). */
void secret_mask_add(
    struct secret_mask *mask, const char *bytes, size_t n, secret_mask_fn *fn, void *context);
void secret_mask_flush(struct secret_mask *mask, secret_mask_fn *fn, void *context);

/* How many bytes are kept back. */
size_t secret_mask_kept(const struct secret_mask *mask);
/* What is kept back is dropped: it comes again. */
void secret_mask_reset(struct secret_mask *mask);
