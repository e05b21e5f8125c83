/* SPDX-License-Identifier: MPL-2.0 */
/* "web: reading its disk 42%" on one line of a terminal, which goes when it is over; nothing where
 * stderr is none, or with --quiet. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cli;

struct progress {
    bool is_shown;
    const char *vm, *what; /* borrowed */
    int percent;           /* as shown last */
};

struct progress progress_begin(const struct cli *cli, const char *vm, const char *what);
void progress_show(struct progress *progress, double done, double total);
void progress_end(struct progress *progress);
