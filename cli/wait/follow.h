/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Following VMs until each has reached its goal or can no longer reach it: progress on stderr (on a
 * terminal a line a VM and a line an image that is being downloaded, redrawn; elsewhere a line each
 * time the state's word changes, or when ten seconds passed without one; nothing with --quiet;
 * never a state from before the request), provision output as it comes, the reason of a failure at
 * once. The waiting is wait_loop.h's. Ctrl-C ends the following, never the VM.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/wait/goal.h"
#include "cli/wait/log_stream.h"
#include "specs/base/error.h"
#include "specs/base/text.h"

struct cli;

struct follow_target {
    const char *name; /* borrowed */
    char uid[TEXT_ID_SIZE];
    uint64_t generation;
    struct goal goal;
    bool is_for_us; /* the command destroys the VM itself: nothing continues in the background, and
                     * stdout belongs to another program */
    struct log_stream *provision; /* shown as it grows; borrowed; NULL: not */
    /* how it ended */
    enum goal_result result;
    struct error error; /* when it failed, or was still pending at the deadline */
};

/*
 * Returns the exit status: 0 when all goals were reached, else that of the first failure, all of
 * them printed; 130, 143, 129 or 141 when interrupted (wait_loop.h). Negative: the store or the
 * controller cannot be used.
 * A timeout of 0 checks once.
 */
int follow(struct cli *cli, struct follow_target *targets, size_t count, int64_t timeout_ms,
    struct error *err);
