/* SPDX-License-Identifier: MPL-2.0 */
/* Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html */
#pragma once

#include <stdint.h>

struct buf;
struct error;
struct store;

/* Appends a message for each event with a sequence above *after, of `vm_name` or, with NULL, of all
 * VMs. *after becomes the sequence of the last event read, of any VM, so that none is read twice:
 *   id: 12
 *   event: event
 *   data: {…}          as `vmctl events -f -o json` has it on a line */
int stream_add(
    struct store *store, const char *vm_name, uint64_t *after, struct buf *out, struct error *err);

/* The sequence of the newest event; 0: there is none. */
int stream_newest(struct store *store, uint64_t *ret, struct error *err);
