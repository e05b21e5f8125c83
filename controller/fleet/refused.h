/* SPDX-License-Identifier: MPL-2.0 */
/*
 * VMs that etcd assigns to this node and that the node refuses: a VM of another node names paths
 * and images for this node's vmctld to read. They are not written to the store; st/N/V has the
 * reason, for the command that placed the VM.
 */
#pragma once

#include <stdint.h>

#include "specs/base/json.h"

struct error;
struct member;
struct vm_desired;
struct vm_status;

/* Checks whether this node accepts the VM. -ERR_FLEET_NO_NODE: the reason why not. */
int refused_check(const struct member *member, const struct vm_desired *object, struct error *err);

/* The same for another node before the VM is in etcd, as far as node/N shows. -ERR_FLEET_NO_NODE.
 */
int refused_foresee(const struct member *member, const char *node, const struct vm_desired *next,
    struct error *err);

/* An entry of member.refused, {name: {"uid", "generation", "message", "help", "at"}}. `before` is
 * that of the last look and has the time of the first refusal; NULL: none. */
json_t *refused_entry(
    const struct vm_desired *object, const struct error *why, const json_t *before, int64_t now_ms);

/* The status to publish: `status`, of the VM that keeps running as before, or a new one if that is
 * NULL, with the conditions of the refusal. vm_status_free() it. */
struct vm_status *refused_status(const json_t *entry, const struct vm_status *status);
