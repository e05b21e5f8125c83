/* SPDX-License-Identifier: MPL-2.0 */
/* "web: reading its disk 42%" on one line of a terminal, which goes when it is over; nothing where
 * stderr is none, or with --quiet. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cli;

struct progress {
    bool is_shown;
    const char *vm, *what;                      /* borrowed */
    int percent;                                /* as shown last */
    double done, total;                         /* of progress_add() */
    void (*report)(void *context, int percent); /* NULL: nobody besides */
    void *context;
};

struct progress progress_begin(const struct cli *cli, const char *vm, const char *what);
void progress_show(struct progress *progress, double done, double total);
/* Of work in pieces, all of which are `total`: so much more is done. */
void progress_add(struct progress *progress, double done);
void progress_end(struct progress *progress);
