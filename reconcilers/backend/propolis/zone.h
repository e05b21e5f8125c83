/* SPDX-License-Identifier: MPL-2.0 */
/* A VM's zone, by zoneadm(8) and zonecfg(8). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/loop/op.h"

struct loop;

struct zone_facts {
    bool is_known;     /* it is configured */
    bool is_installed; /* at least */
    bool is_alive;     /* it is running, or on its way to or from there: it has an id */
    int32_t id;        /* of a zone that is alive; another after every boot */
};

/* Reads the output of `zoneadm list -cp`: id:name:state:path:… one zone a line. */
struct zone_facts zone_parse(const char *list, const char *name);

struct op *zone_look(
    struct loop *loop, const char *name, struct zone_facts *ret, op_done_fn *done, void *context);

/* Boots it unless it runs, and looks. ERR_BACKEND_UNAVAILABLE: there is no such zone. */
struct op *zone_boot(
    struct loop *loop, const char *name, struct zone_facts *ret, op_done_fn *done, void *context);

/* Halts it unless it is down, and looks. */
struct op *zone_halt(
    struct loop *loop, const char *name, struct zone_facts *ret, op_done_fn *done, void *context);
