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
    bool cancels;
    bool recreates;
    bool is_off;
};

static const struct arg_option options[] = {
    {"to", 0, ARG_TEXT, offsetof(struct move_values, to), "NODE", "the node that it goes to"},
    {"stop", 0, ARG_FLAG, offsetof(struct move_values, stops), NULL,
        "it may run: it is shut down, and started there"},
    {"cancel", 0, ARG_FLAG, offsetof(struct move_values, cancels), NULL, "it stays where it is"},
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
    bool is_other = values->to || values->stops || values->recreates || values->is_off;
    if (words->count != 1) {
        (void)error_set(err, ERR_USAGE, "move takes one VM");
    } else if (values->cancels && is_other) {
        (void)error_set(err, ERR_USAGE, "--cancel takes no other option");
    } else if (!values->cancels && !values->to) {
        (void)error_set(err, ERR_USAGE, "where to? no node is given");
    } else if (values->is_off && !values->recreates) {
        (void)error_set(err, ERR_USAGE, "--node-is-off is for --recreate: the disk stays there");
    } else if (values->stops && values->recreates) {
        (void)error_set(
            err, ERR_USAGE, "--stop is for a node that is heard of, and --recreate for another");
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
        .is_off = values->is_off};
    return fleet_move_run(cli, &move, values->follow.is_detached, values->follow.timeout_ms, err);
}

const struct command command_move = {
    .name = "move",
    .summary = "Give a VM of the fleet another node",
    .usage = "[OPTIONS] VM --to NODE | --cancel VM",
    .details =
        "The VM is off meanwhile: with --stop it is shut down first, and started there. NODE\n"
        "fetches its disk, seed and keys from the VM's node by ssh, each with its SHA-256, and\n"
        "until it has all of it the VM is the other one's: `list -A` shows how far it is, what\n"
        "fails is tried again, and --cancel ends it. Both nodes need room for the disk once\n"
        "more. What the old node had goes to quarantine/ there. Snapshots do not go along, and a\n"
        "VM with a volume, a share or a file of its host stays.\n"
        "\n"
        "--recreate makes a VM again, with a new disk, whose node is not heard of. First a whole\n"
        "lease of that node passes (15 seconds) in which it could have come back: it is not moved\n"
        "then. What that cannot show is a node that runs on and is cut off from etcd: switch it\n"
        "off, or accept that the VM runs twice until it is back. --node-is-off says that it is\n"
        "off, and nothing is waited for. When such a node is back, it ends its own at once, and\n"
        "moves its files to quarantine/ there; nothing is erased. The VM keeps its name and "
        "ports;\n"
        "its MAC address is another one. To give a VM up whose node is off: vmctl destroy\n"
        "--node-is-off.",
    .examples = "  vmctl move web --to c --stop\n"
                "  vmctl move --cancel web\n"
                "  vmctl move web --to c --recreate --node-is-off",
    .options = options,
    .values_size = sizeof(struct move_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};
