/* SPDX-License-Identifier: MPL-2.0 */
/* Showing a VM's events: under an error, in `status`. */
#pragma once

#include <stddef.h>

struct buf;
struct cli;
struct error;

/* Appends the newest `limit` events as indented lines, oldest first; nothing when there are none.
 * Those of an earlier VM of the name, destroyed before this one was made, are left out. */
int events_list(
    struct cli *cli, const char *vm_name, size_t limit, struct buf *out, struct error *err);

/* After an error, on stderr: the last five events and where the logs are. */
void events_explain(struct cli *cli, const char *vm_name);
