/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What is forwarded over SSH: unix sockets, and the ports that a guest listens on. It is no action
 * of the table in decide.c, because it neither waits for those nor holds them up: a step may run
 * for an hour, and a socket that cannot be made keeps no probe from being tried. It is as
 * level-triggered as they are: forward_plan.h decides, each pass records that, and the next works
 * towards what is recorded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pass;
struct vm_status;

/*
 * Works towards what `committed` has recorded, and records in the patch what is to be forwarded
 * from now on, with what became of it. Returns when that has to be done again, as
 * verdict.requeue_ms.
 *
 * Killed before the commit: nothing was made. Killed after it: the next pass makes, or removes, the
 * same. What is there already is left alone.
 */
int64_t forwards_keep(struct pass *pass, const struct vm_status *committed);

/* Before the VM's directory goes: ends what forwards for it. Again is fine. */
void forwards_end(struct pass *pass);

/* The lease is one of a forward over SSH. */
bool forwards_have_lease(const struct vm_status *status, const char *key);

/* The condition Forwarded. */
void forwards_describe(struct pass *pass);

/* Why a socket of the VMFile is not forwarded; NULL: all are, or are about to be. Borrowed. */
const char *forwards_failure(const struct pass *pass);
