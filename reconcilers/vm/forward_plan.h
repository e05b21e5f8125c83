/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The decision about what is forwarded over SSH: desired × recorded × observed -> the next record.
 * A pure function. A forward is recorded, and what it takes leased, before it is made; what goes is
 * marked first, and stays recorded until nothing of it is left. So a controller that is killed
 * anywhere in between leaves only what the next one knows of.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reconcilers/backend/backend.h"
#include "specs/vm/vm_status.h"

enum { FORWARD_PORTS_MAX = 64 }; /* that are forwarded by themselves; further ones are only named */

struct forward_input {
    const struct vm_spec *spec;       /* desired */
    bool is_wanted;                   /* the machine is meant to run, and its guest was reached */
    const struct vm_status *recorded; /* of its forwards */
    const struct tunnel_forward *observed; /* of each of those */
    const struct tunnel_facts *facts;
    /* Who else holds the lease; NULL: nobody. */
    const char *(*holder)(void *context, const char *key);
    /* No program listens on this port of 127.0.0.1. */
    bool (*is_bindable)(void *context, uint16_t port);
    /* A port of this host that no VM and no program has, sought from `start` on. 0: there is none.
     */
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

/* What makes it this VM's alone; NULL: nothing of this host is taken. free() it. */
char *vm_forward_lease_key(const struct vm_forward *forward);
