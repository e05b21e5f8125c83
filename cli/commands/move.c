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
    bool stops;
    bool leaves_snapshots;
    bool cancels;
    bool recreates;
    bool is_off;
};

static const struct arg_option options[] = {
    {"to", 0, ARG_TEXT, offsetof(struct move_values, to), "NODE", "the new node"},
    {"stop", 0, ARG_FLAG, offsetof(struct move_values, stops), NULL,
        "also if it runs: shut it down, and start it on the new node"},
    {"without-snapshots", 0, ARG_FLAG, offsetof(struct move_values, leaves_snapshots), NULL,
        "also if it has snapshots: they stay on the old node, in quarantine/"},
    {"cancel", 0, ARG_FLAG, offsetof(struct move_values, cancels), NULL,
        "end the move: the VM stays on its node"},
    {"recreate", 0, ARG_FLAG, offsetof(struct move_values, recreates), NULL,
        "with a new disk, while its node is offline"},
    {"node-is-off", 0, ARG_FLAG, offsetof(struct move_values, is_off), NULL,
        "with --recreate: you know that its node is off; do not wait"},
    OPTIONS_FOLLOW(struct move_values),
    OPTIONS_END,
};

static const struct move_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

static int check_words(
    const struct move_values *values, const struct arg_strings *words, struct error *err)
{
    bool is_begin = values->stops || values->leaves_snapshots;
    bool is_other = values->to || is_begin || values->recreates || values->is_off;
    if (words->count != 1) {
        (void)error_set(err, ERR_USAGE, "move takes one VM");
    } else if (values->cancels && is_other) {
        (void)error_set(err, ERR_USAGE, "--cancel takes no other option");
    } else if (!values->cancels && !values->to) {
        (void)error_set(err, ERR_USAGE, "no node is given to move it to");
    } else if (values->is_off && !values->recreates) {
        (void)error_set(
            err, ERR_USAGE, "--node-is-off needs --recreate: the disk stays on that node");
    } else if (is_begin && values->recreates) {
        (void)error_set(err, ERR_USAGE, "--recreate takes neither %s nor %s: its node is offline",
            "--stop", "--without-snapshots");
    } else {
        return 0;
    }
    return error_help(err, "vmctl move VM --to NODE; the nodes: vmctl fleet status");
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
        .verb = values->cancels     ? FLEET_MOVE_CANCEL
                : values->recreates ? FLEET_MOVE_RECREATE
                                    : FLEET_MOVE_BEGIN,
        .to = values->to,
        .stops = values->stops,
        .leaves_snapshots = values->leaves_snapshots,
        .is_off = values->is_off};
    return fleet_move_run(cli, &move, values->follow.is_detached, values->follow.timeout_ms, err);
}

const struct command command_move = {
    .name = "move",
    .summary = "Move a VM of the fleet to another node",
    .usage = "[OPTIONS] VM --to NODE | --cancel VM",
    .details =
        "The VM is off during the move: with --stop it is shut down first, and started on NODE.\n"
        "NODE fetches the disk, seed and keys from the old node by ssh, and verifies the SHA-256\n"
        "of each. Until all of them have arrived, the VM belongs to the old node: `list -A` shows\n"
        "the progress, a transfer that fails is tried again, and --cancel ends the move. Both\n"
        "nodes need free space for another copy of the disk. Afterwards the old node moves the\n"
        "VM's files to quarantine/. A VM with a volume, a share or a file of its host cannot be\n"
        "moved, and one with snapshots only --without-snapshots: these stay in quarantine/.\n"
        "\n"
        "--recreate makes the VM again, with a new disk, while its node is offline. It first\n"
        "waits for a whole lease of that node, 15 seconds: if the node comes back, it keeps the\n"
        "VM. A node that runs but is cut off from etcd looks like one that is off: until it is\n"
        "back, the VM runs there as well. --node-is-off says that the node is off, and does not\n"
        "wait. When the node is back, it ends its VM at once and moves the files to quarantine/;\n"
        "nothing is erased. The VM keeps its name and ports, its MAC address changes. To give up\n"
        "a VM whose node is off: vmctl destroy --node-is-off.",
    .examples = "  vmctl move web --to c --stop\n"
                "  vmctl move --cancel web\n"
                "  vmctl move web --to c --recreate --node-is-off",
    .options = options,
    .values_size = sizeof(struct move_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};
