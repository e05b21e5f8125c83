/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Corrects the clock of a guest that was stopped because it was paused or its host suspended.
 * vm_status.clock records that a check is due, and is committed before the guest runs again;
 * guest_ops.set_clock checks and sets it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pass;

/* Records that the guest is stopped; called after decide(). Returns true if the status changed. */
bool clock_note_pause(struct pass *pass);

/* ACTION_SET_CLOCK. Returns verdict.requeue_ms. */
int64_t clock_act(struct pass *pass);

/* Records the result of the operation. Returns true: the status changed. */
bool clock_record(struct pass *pass);

/* Records that the operation failed. Returns true if it failed so often that the guest counts as
 * unreachable. After more failures the clock is recorded as one that cannot be set. */
bool clock_failed(struct pass *pass);
