/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A VM's port on the switch of its project network (reconcilers/network/switch). The switch belongs
 * to no VM: the first that needs it starts it, all connect to it, and it ends by itself when there
 * is no port any more. What it is to do stands in the ports' files, so that one that was killed is
 * simply started again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/loop/op.h"

struct error;
struct paths;
struct reconciler_host;
struct spec_forward;
struct switch_link;
struct vm_spec;

/* Makes the network's directory and opens it (O_PATH): for QEMU's sockets, whose names in it are
 * VM.vm and hub/VM.hub (network/switch/port.h). */
int switch_open_network(
    const struct paths *paths, const char *network, int *ret_fd, struct error *err);

/* `changed` is called when the switch ends. */
struct switch_link *switch_link_new(
    struct reconciler_host *host, const char *vm_name, void (*changed)(void *), void *context);
void switch_link_free(struct switch_link *link); /* the switch and the port stay; NULL is fine */

/* The switch that was last applied to still runs. */
bool switch_link_is_up(const struct switch_link *link); /* NULL: no */
/* It ended, and none was applied to since. Not so of one that was not applied to yet. */
bool switch_link_was_lost(const struct switch_link *link); /* NULL: no */

/* Written by switch_link_apply(); free() the strings. */
struct switch_result {
    char *taken_port; /* lease key of a forward that could not be made; NULL: all are */
    char *why;
    bool is_started; /* the switch had to be */
};

/* The port as it is to be; all borrowed for the call. */
struct switch_wanted {
    const struct vm_spec *spec;
    size_t at; /* which of its networks */
    const char *mac, *address;
    const struct spec_forward *forwards; /* SSH's included */
    size_t n_forwards;
};

/* Writes the port's file, starts the switch unless it runs, and has it take the port over. May be
 * repeated. ERR_TIMEOUT: it does not answer; it was killed then. ERR_BACKEND_UNAVAILABLE: it is not
 * installed. */
struct op *switch_link_apply(struct switch_link *link, const struct switch_wanted *wanted,
    struct switch_result *result, op_done_fn *done, void *context);

/* Of a VM that is off: removes its port from the network. Cheap when there is none. */
void switch_leave(const struct paths *paths, const char *network, const char *vm_name);
