/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl move: another node for a VM of the fleet. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/fleet/fleet_vms.h"
#include "cli/options.h"
#include "specs/base/error.h"
#include "specs/fleet/fleet_ask.h"

struct move_values {
    struct follow_values follow;
    const char *to;
    bool recreates;
    bool is_off;
};

static const struct arg_option options[] = {
    {"to", 0, ARG_TEXT, offsetof(struct move_values, to), "NODE", "the node that it goes to"},
    {"recreate", 0, ARG_FLAG, offsetof(struct move_values, recreates), NULL,
        "with a new disk, as its node is not heard of"},
    {"node-is-off", 0, ARG_FLAG, offsetof(struct move_values, is_off), NULL,
        "with --recreate: its node is off, you know it; nothing is waited for"},
    OPTIONS_FOLLOW(struct move_values),
    OPTIONS_END,
};

static const struct move_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

static int check_words(
    const struct move_values *values, const struct arg_strings *words, struct error *err)
{
    if (words->count != 1) {
        (void)error_set(err, ERR_USAGE, "move takes one VM");
    } else if (!values->to) {
        (void)error_set(err, ERR_USAGE, "where to? no node is given");
    } else if (values->is_off && !values->recreates) {
        (void)error_set(err, ERR_USAGE,
            "--node-is-off is for --recreate: a disk that is on a node which is off stays there");
    } else if (!values->recreates) {
        (void)error_set(err, ERR_USAGE, "a VM's disk does not go along: it gets a new one");
        return error_help(
            err, "if that is meant: vmctl move %s --to %s --recreate", words->items[0], values->to);
    } else {
        return 0;
    }
    return error_help(err, "vmctl move VM --to NODE --recreate; the nodes: vmctl fleet status");
}

static int run(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    const struct move_values *values = context;
    int rc = check_words(values, words, err);
    if (rc < 0) {
        return rc;
    }
    const struct fleet_move move = {.name = words->items[0],
        .verb = FLEET_MOVE_RECREATE,
        .to = values->to,
        .is_off = values->is_off};
    return fleet_move_run(cli, &move, values->follow.is_detached, values->follow.timeout_ms, err);
}

const struct command command_move = {
    .name = "move",
    .summary = "Give a VM of the fleet another node",
    .usage = "[OPTIONS] VM --to NODE",
    .details =
        "--recreate makes a VM again, with a new disk, whose node is not heard of. First a whole\n"
        "lease of that node passes (15 seconds) in which it could have come back: it is not moved\n"
        "then. What that cannot show is a node that runs on and is cut off from etcd: switch it\n"
        "off, or accept that the VM runs twice until it is back. --node-is-off says that it is\n"
        "off, and nothing is waited for. When such a node is back, it ends its own at once, and\n"
        "moves its files to quarantine/ there; nothing is erased. The VM keeps its name and "
        "ports;\n"
        "its MAC address is another one. To give a VM up whose node is off: vmctl destroy\n"
        "--node-is-off.",
    .examples = "  vmctl move web --to c --recreate\n"
                "  vmctl move web --to c --recreate --node-is-off",
    .options = options,
    .values_size = sizeof(struct move_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};
