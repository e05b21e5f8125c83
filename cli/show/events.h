/* SPDX-License-Identifier: MPL-2.0 */
/* Showing a VM's events: under an error, in `status`, as objects. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/json.h"

struct buf;
struct cli;
struct error;
struct vm_event;

/* Appends the newest `limit` events as indented lines, oldest first; nothing when there are none.
 * Those of an earlier VM of the name, destroyed before this one was made, are left out, and
 * one that happened once and whose message is in `shown` (NULL: none), which was just printed. */
int events_list(struct cli *cli, const char *vm_name, size_t limit, const char *shown,
    bool use_color, struct buf *out, struct error *err);

/* After an error, on stderr: the last five events and where the logs are. `shown` is the error's
 * message: an event that adds nothing to it is left out. */
void events_explain(struct cli *cli, const char *vm_name, const char *shown);

/* {vm, type, reason, message, count, first, last, sequence}; times in ms. Caller owns. */
json_t *event_to_json(const struct vm_event *event);

/* Appends the last ten events of the VM, as events_list() chooses them. */
int events_add_json(struct cli *cli, const char *vm_name, json_t *array, struct error *err);
