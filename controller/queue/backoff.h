/* SPDX-License-Identifier: MPL-2.0 */
/* Exponential backoff with jitter. Pure: the caller counts the failures and gives the dice. */
#pragma once

#include <stdint.h>

struct backoff {
    int64_t first_ms; /* delay after the first failure; 0 is allowed: "at once, then `base`" */
    int64_t base_ms;  /* delay after the second failure; doubles from there */
    int64_t max_ms;
    uint32_t jitter_percent; /* adds 0 … this much */
};

/* Reconcile errors: 50 ms × 2 … 60 s, +0 … 25 %. */
extern const struct backoff backoff_reconcile;
/* A watched VMFile whose records cannot be read or written: 1 s × 2 … 30 s, without jitter. */
extern const struct backoff backoff_source;
/* A VM that crashed: 0, 1, 2, 4 … 60 s, +0 … 25 % (KEP-4603 is the model). */
extern const struct backoff backoff_crash;
/* Downloads: 2 s × 2 … 300 s. */
extern const struct backoff backoff_download;

/* Delay after `failures` (≥ 1) in a row; `dice` is any random number. */
int64_t backoff_delay_ms(const struct backoff *backoff, uint32_t failures, uint32_t rng);
