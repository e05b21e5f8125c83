/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Schedules the `ready` and `live` probes and interprets their results.
 *
 * As kubelet has it: `ready` decides whether the VM counts as Ready and nothing else; `live` ends
 * an instance that fails too often in a row, and the restart policy decides what follows. Neither
 * is tried before the guest is reached and its provisioning is done, nor after provisioning has
 * failed: the probed service may not be there yet.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/vm/vm_spec.h"

struct pass;

/* Probes are due now, or are being tried. */
bool probes_are_due(const struct pass *pass);

/* Returns the kind to try next. Call it only while some are due. */
enum check_kind probes_next(const struct pass *pass);

/* Time until the next ones are due, a verdict.requeue_ms; VERDICT_WHEN_WOKEN: none will be. */
int64_t probes_wait_ms(const struct pass *pass);

/* Returns whether `live` failed as often in a row as the spec allows. */
bool probes_are_fatal(const struct pass *pass);

/* Returns whether `ready` has failed for too long to keep waiting. */
bool probes_are_overdue(const struct pass *pass);

/* Records the result of a round in the patch. True when the status changed. */
bool probes_record(struct pass *pass);

/* Discards all earlier results, for another instance, other probes or other steps. */
void probes_reset(struct pass *pass);
