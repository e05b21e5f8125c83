/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The clock of a guest that stood still, because it was paused or its host suspended: that it is to
 * be checked is vm_status.clock, committed before the guest runs again; guest_ops.set_clock does
 * it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pass;

/* Records that the guest stands still; after decide(). True when the status changed. */
bool clock_note_pause(struct pass *pass);

/* ACTION_SET_CLOCK. Returns verdict.requeue_ms. */
int64_t clock_act(struct pass *pass);

/* Records the result of the operation: true, the status has changed. */
bool clock_record(struct pass *pass);

/* The operation failed: true when it has failed so often that the guest counts as unreachable. In
 * the end the clock is recorded as one that cannot be set. */
bool clock_failed(struct pass *pass);
