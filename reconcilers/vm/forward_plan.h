/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Decides which forwards over SSH to make and remove: desired × recorded × observed -> the next
 * record. A pure function. A forward is recorded, and its ports and paths leased, before it is
 * made; one that is removed is marked first and stays recorded until nothing of it is left. So a
 * controller that is killed in between leaves only forwards that the next one knows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reconcilers/backend/backend.h"
#include "specs/vm/vm_status.h"

enum { FORWARD_PORTS_MAX = 64 }; /* forwarded automatically; further ones are only reported */

struct forward_input {
    const struct vm_spec *spec;       /* desired */
    bool is_wanted;                   /* the machine is desired to run and its guest was reached */
    const struct vm_status *recorded; /* of its forwards */
    const struct tunnel_forward *observed; /* of each of those */
    const struct tunnel_facts *facts;
    /* Returns the other VM that holds the lease; NULL: none. */
    const char *(*holder)(void *context, const char *key);
    /* Returns whether no program listens on this port of 127.0.0.1. */
    bool (*is_bindable)(void *context, uint16_t port);
    /* Returns the first port from `start` on that no VM and no program uses; 0: none. */
    uint16_t (*free_port)(void *context, uint16_t start);
    void *context;
};

struct forward_plan {
    struct vm_forward *forwards; /* as they are to be recorded; owned */
    uint32_t n;
    char **leases; /* to be taken; owned */
    size_t n_leases;
    char **dropped; /* to be dropped; owned */
    size_t n_dropped;
};

void forward_plan_make(const struct forward_input *input, struct forward_plan *ret);
void forward_plan_clear(struct forward_plan *plan);

/* Returns the key of the lease that the forward needs; NULL: it uses nothing of this host. free()
 * it. */
char *vm_forward_lease_key(const struct vm_forward *forward);
