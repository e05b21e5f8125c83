/* SPDX-License-Identifier: MPL-2.0 */
/* A VM's zone, by zoneadm(8) and zonecfg(8). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <netinet/in.h>

#include "controller/loop/op.h"

struct loop;
struct vm_spec;

struct zone_facts {
    bool is_known;     /* it is configured */
    bool is_installed; /* at least */
    bool is_alive;     /* it runs, boots or halts: it has an id */
    int32_t id;        /* of a zone that is alive; changes with every boot */

    /* After ZONE_UP; "": not configured. */
    char server[INET6_ADDRSTRLEN + 2]; /* the zone's own address; an IPv6 one in brackets */
    char guest[INET6_ADDRSTRLEN];      /* the address allowed on the guest's VNIC */
};

/* Reads the output of `zoneadm list -cp`: id:name:state:path:… one zone a line. */
struct zone_facts zone_parse(const char *list, const char *name);

/* Reads the output of `zonecfg info net`: the guest's address is that of the net whose link is the
 * VNIC of its first network, the zone's own the first of a link that is none of the guest's. Writes
 * `server` and `guest` of *ret. */
void zone_parse_net(const char *info, const struct vm_spec *spec, struct zone_facts *ret);

struct zone_request {
    const char *name;
    enum zone_wanted {
        ZONE_AS_IT_IS, /* its state is read, no more */
        ZONE_UP,       /* booted unless it runs; its addresses are read as well */
        ZONE_DOWN,     /* halted unless it is down */
    } wanted;
    const struct vm_spec *spec; /* with ZONE_UP: whose VNICs are the guest's */
};

/* `request` is copied. ERR_BACKEND_UNAVAILABLE: there is no such zone to boot. */
struct op *zone_start(struct loop *loop, const struct zone_request *request, struct zone_facts *ret,
    op_done_fn *done, void *context);
