/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Following VMs until each has reached its goal or cannot any more: progress on stderr, provision
 * output as it comes, the reason of a failure at once. Woken by the status bell; looks again at
 * least every second, and then also makes sure that a controller runs. Ctrl-C ends the following,
 * never the VM.
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
    bool is_for_us; /* the command sees to the VM's end itself: it does not go on in the background */
    struct log_stream *provision; /* shown as it grows; borrowed; NULL: not */
    /* how it ended */
    enum goal_result result;
    struct error error; /* when it failed, or was still pending at the deadline */
};

/*
 * Returns the exit status: 0 when all goals were reached, else that of the first failure, all of
 * them printed; 130, 143 or 129 when interrupted. Negative: the store or the controller cannot be used.
 * A timeout of 0 looks once.
 */
int follow(struct cli *cli, struct follow_target *targets, size_t count, int64_t timeout_ms,
    struct error *err);
