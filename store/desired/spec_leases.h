/* SPDX-License-Identifier: MPL-2.0 */
/* The leases of what a VM's desired spec names (specs/vm/lease_key.h), for a VM that is to have
 * them before it starts: of two that want the same host port or address the second is refused. */
#pragma once

struct error;
struct store;
struct store_batch;
struct vm_desired;

/* -ERR_VM_CONFLICT: another VM holds one of them. */
int spec_leases_check(struct store *store, const struct vm_desired *desired, struct error *err);

/* The batch is stale, when committed, if another VM was faster. */
void spec_leases_take(struct store_batch *batch, const struct vm_desired *desired);
