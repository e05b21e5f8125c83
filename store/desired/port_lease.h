/* SPDX-License-Identifier: MPL-2.0 */
/* The host ports of a VM's forwards, held for it from the moment it is created. */
#pragma once

struct error;
struct store;
struct store_batch;
struct vm_desired;

/* -ERR_VM_CONFLICT: another VM holds one of them; which, and who. */
int port_lease_check(struct store *store, const struct vm_desired *desired, struct error *err);
/* Stale, when committed, if another VM was faster. */
void port_lease_take(struct store_batch *batch, const struct vm_desired *desired);
