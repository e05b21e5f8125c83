/* SPDX-License-Identifier: MPL-2.0 */
/*
 * VMs that etcd gives to this node and that it does not take, as others say with them what its
 * vmctld reads, and where it looks. They are not written to the store; st/N/V says why, so that the
 * command that placed one hears it.
 */
#pragma once

#include <stdint.h>

#include "specs/base/json.h"

struct error;
struct member;
struct vm_desired;
struct vm_status;

/* -ERR_FLEET_NO_NODE: why this node does not take the VM. */
int refused_check(const struct member *member, const struct vm_desired *object, struct error *err);

/* What is asked of node N by another one of the fleet is refused before it is in etcd, as far as
 * node/N shows: -ERR_FLEET_NO_NODE. */
int refused_foresee(const struct member *member, const char *node, const struct vm_desired *next,
    struct error *err);

/* An entry of member.refused, {name: {"uid", "generation", "message", "help", "at"}}; `before` is
 * the one of the last look: since when it is refused. */
json_t *refused_entry(
    const struct vm_desired *object, const struct error *why, const json_t *before, int64_t now_ms);

/* What is published: `status`, of the VM that runs on as it was, or NULL, with the conditions that
 * say so. vm_status_free() it. */
struct vm_status *refused_status(const json_t *entry, const struct vm_status *status);
