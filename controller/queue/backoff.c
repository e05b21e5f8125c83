/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/queue/backoff.h"

#include <assert.h>

const struct backoff backoff_reconcile = {
    .first_ms = 50, .base_ms = 100, .max_ms = 60000, .jitter_percent = 25};
const struct backoff backoff_source = {.first_ms = 1000, .base_ms = 2000, .max_ms = 30000};
const struct backoff backoff_crash = {
    .first_ms = 0, .base_ms = 1000, .max_ms = 60000, .jitter_percent = 25};
const struct backoff backoff_download = {
    .first_ms = 2000, .base_ms = 4000, .max_ms = 300000, .jitter_percent = 25};

/* Stops doubling at the maximum, so that no count of failures can overflow. */
static int64_t without_jitter(const struct backoff *backoff, uint32_t failures)
{
    if (failures == 1) {
        return backoff->first_ms < backoff->max_ms ? backoff->first_ms : backoff->max_ms;
    }
    int64_t delay_ms = backoff->base_ms;
    for (uint32_t i = 2; i < failures && delay_ms > 0 && delay_ms < backoff->max_ms; i++) {
        delay_ms *= 2;
    }
    return delay_ms < backoff->max_ms ? delay_ms : backoff->max_ms;
}

int64_t backoff_delay_ms(const struct backoff *backoff, uint32_t failures, uint32_t rng)
{
    assert(failures > 0);
    int64_t delay_ms = without_jitter(backoff, failures);
    uint64_t most = (uint64_t)delay_ms * backoff->jitter_percent / 100;
    /* (most + 1) × dice / 2³² is even over 0 … most; most < 2³² for delays below 5 days. */
    return delay_ms + (int64_t)(((most + 1) * rng) >> 32);
}
