/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl stop: shuts guests down. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/request/power.h"
#include "specs/base/error.h"

struct stop_values {
    struct which_values which;
    struct follow_values follow;
    int64_t grace_ms; /* -1: the VM's own */
};

static const struct arg_option options[] = {
    OPTION_FILE(struct stop_values, 'f'),
    OPTION_NAME(struct stop_values),
    OPTION_ALL(struct stop_values),
    {"timeout", 't', ARG_DURATION, offsetof(struct stop_values, grace_ms), "DURATION",
        "time for the guest to shut down [default: its stop-timeout, 30s]"},
    {"detach", 'd', ARG_FLAG, offsetof(struct stop_values, follow.is_detached), NULL,
        "return as soon as the request is recorded"},
    {"no-wait", 0, ARG_FLAG, offsetof(struct stop_values, follow.is_detached), NULL, NULL},
    OPTIONS_END,
};

static const struct stop_values defaults = {.grace_ms = -1};

/* Whole seconds; at least one, because 0 in a change means the VM's own. */
static int grace_seconds(int64_t grace_ms, uint32_t *ret, struct error *err)
{
    enum { DAY_S = 24 * 60 * 60 };
    int64_t seconds = (grace_ms + 999) / 1000;
    if (seconds > DAY_S) {
        return error_set(err, ERR_USAGE, "--timeout: a guest has at most a day to shut down");
    }
    *ret = seconds > 1 ? (uint32_t)seconds : 1;
    return 0;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    enum { LADDER_MS = 60 * 1000 }; /* what follows a guest's grace, with room to spare */
    const struct stop_values *stop = values;
    struct power_command command = {
        .change = {.sets_power = true, .power = POWER_STOPPED},
        .goal = {.kind = GOAL_STOPPED, .is_desired = true},
        .begun = "stopping",
        .done = "stopped",
    };
    if (stop->grace_ms >= 0 &&
        grace_seconds(stop->grace_ms, &command.change.stop_timeout_s, err) < 0) {
        return -ERR_USAGE;
    }
    struct power_values power = {.which = stop->which, .follow = stop->follow};
    power.follow.timeout_ms = stop->grace_ms < 0 ? FOLLOW_TIMEOUT_MS : stop->grace_ms + LADDER_MS;
    return power_run(cli, &command, &power, words, err);
}

const struct command command_stop = {
    .name = "stop",
    .aliases = "halt shutdown poweroff",
    .summary = "Shut VMs down",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Presses the guest's power button. If the guest is not off in time, its power is cut.\n"
        "Without a name: the VMs of the VMFile.",
    .examples = "  vmctl stop web\n"
                "  vmctl stop web --timeout 2m     more time to shut down",
    .reach = REACH_SEVERAL,
    .options = options,
    .values_size = sizeof(struct stop_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};
