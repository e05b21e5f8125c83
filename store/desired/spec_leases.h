/* SPDX-License-Identifier: MPL-2.0 */
/* Takes the leases that a VM's desired spec needs (specs/vm/lease_key.h) before the VM starts: of
 * two VMs with the same host port or address, the second is refused. */
#pragma once

struct error;
struct store;
struct store_batch;
struct vm_desired;

/* -ERR_VM_CONFLICT: another VM holds one of them. */
int spec_leases_check(struct store *store, const struct vm_desired *desired, struct error *err);

/* The commit returns stale if another VM took a lease first. */
void spec_leases_take(struct store_batch *batch, const struct vm_desired *desired);
