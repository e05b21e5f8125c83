/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The probes of `ready` and `live`: when they are tried, and what their results mean.
 *
 * As kubelet has it: `ready` decides whether the VM counts as Ready and nothing else; `live` ends
 * an instance that fails too often in a row, and the restart policy says what then. Neither is
 * asked before the guest is reached and its provisioning is done, nor after provisioning has
 * failed: what is probed may not be there yet.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/vm/vm_spec.h"

struct pass;

/* Probes are due now, or are being tried. */
bool probes_are_due(const struct pass *pass);

/* Which of them to try; only while they are due. */
enum check_kind probes_next(const struct pass *pass);

/* Until the next ones are due, as struct verdict tells it; VERDICT_WHEN_WOKEN: none will be. */
int64_t probes_wait_ms(const struct pass *pass);

/* `live` failed as often in a row as the spec allows. */
bool probes_are_fatal(const struct pass *pass);

/* `ready` has failed for so long that waiting for it is no use any more. */
bool probes_are_overdue(const struct pass *pass);

/* Takes the result of a round into the patch. True when the status changed. */
bool probes_record(struct pass *pass);

/* Another instance, other probes, other steps: what is known of them is void. */
void probes_reset(struct pass *pass);
