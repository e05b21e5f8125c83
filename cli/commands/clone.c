/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl clone: a new VM whose disk is a copy of another's. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/origin.h"
#include "cli/request/run_vms.h"
#include "cli/request/scope.h"
#include "cli/request/targets.h"
#include "cli/request/vm_request.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/paths.h"
#include "specs/base/text.h"
#include "specs/vm/vm_desired.h"
#include "specs/vm/vm_status.h"
#include "store/store.h"

struct clone_values {
    struct follow_values follow;
    bool starts;
};

static const struct arg_option options[] = {
    {"start", 0, ARG_FLAG, offsetof(struct clone_values, starts), NULL,
        "start it and wait until it is ready"},
    OPTIONS_FOLLOW(struct clone_values),
    OPTIONS_END,
};

static const struct clone_values defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

/* The source's, without what can be one VM's only. Caller owns. */
static struct vm_spec *make_spec(struct cli *cli, const struct vm_spec *source, const char *name)
{
    uint32_t cursor = 0;
    struct vm_spec *spec = vm_spec_copy(source);
    (void)!getrandom(&cursor, sizeof(cursor), 0);
    free(spec->name);
    spec->name = mem_strdup(name);
    free(TAKE_PTR(spec->cloud_init.hostname));
    spec->warm = WARM_NEVER;
    size_t n_sockets = spec->network.n_sockets;
    vm_spec_leave_identity(spec);
    if (spec->network.n_sockets < n_sockets) {
        cli_note(cli, "%s: without the sockets on this host that lead to '%s'", name, source->name);
    }
    for (size_t i = 0; i < spec->network.n_forwards; i++) {
        struct spec_forward *forward = &spec->network.forwards[i];
        uint16_t before = forward->host_port;
        forward->host_port = free_port_next(forward->protocol, &cursor);
        cli_note(cli, "%s: guest port %u is at host port %u, not %u", name, forward->guest_port,
            forward->host_port, before);
    }
    if (spec->vnc.port) {
        uint16_t before = spec->vnc.port;
        spec->vnc.port = free_port_next(FORWARD_TCP, &cursor);
        cli_note(cli, "%s: its screen is at host port %u, not %u", name, spec->vnc.port, before);
    }
    for (size_t i = 0; i < spec->n_volumes; i++) {
        cli_note(
            cli, "%s: without volume '%s', which only one VM can use", name, spec->volumes[i].name);
        free(spec->volumes[i].name);
        free(spec->volumes[i].mount);
    }
    spec->n_volumes = 0;
    if (!spec->cloud_init.is_set) {
        cli_note(cli, "%s: without `cloud-init` its guest has the host name and keys of '%s'", name,
            source->name);
    }
    return spec;
}

/* A store that was lost knew a VM of the name: its disk stays, and is not written over. */
static int check_has_no_disk(const struct cli *cli, const char *name, struct error *err)
{
    cleanup_free char *disk = paths_vm(&cli->paths, name, VM_OVERLAY);
    if (!fs_exists(disk)) {
        return 0;
    }
    (void)error_set(
        err, ERR_VM_CONFLICT, "'%s' is the disk of a vm '%s' that has no record", disk, name);
    return error_help(
        err, "choose another name, or take that VM back first: vmctl up with its VMFile");
}

static int run(
    struct cli *cli, const void *context, const struct arg_strings *words, struct error *err)
{
    static const struct origin_words verbs = {"cloning", "cloned", "cloned and started"};
    const struct clone_values *values = context;
    if (words->count != 2) {
        (void)error_set(err, ERR_USAGE, "clone takes a VM and the name of the new one");
        return error_help(err, "vmctl clone VM NEW, or of a snapshot: vmctl clone VM@SNAPSHOT NEW");
    }
    const char *word = words->items[0];
    cleanup_free char *name = NULL;
    cleanup_with(origin_clear) struct origin origin = {.vm = NULL};
    int rc = scope_name(cli, NULL, words->items[1], &name, err);
    rc = rc < 0 ? rc : vm_request_check_is_new(cli, name, err);
    rc = rc < 0 ? rc : check_has_no_disk(cli, name, err);
    rc = rc < 0 ? rc : origin_find(cli, word, &values->follow, &origin, err);
    if (rc != 0) {
        return rc;
    }
    struct vm_spec *spec = make_spec(cli, origin.record.desired->spec, name);
    rc = origin_create_vm(cli, spec, &origin.of, origin.record.desired->uid, values->starts, &verbs,
        &values->follow, err);
    vm_spec_free(spec);
    return rc;
}

const struct command command_clone = {
    .name = "clone",
    .summary = "Create a VM from a copy of another VM's disk",
    .usage = "[OPTIONS] VM[@SNAPSHOT] NEW",
    .details =
        "Creates the VM NEW with the settings of VM and a copy of its disk, or of one of its\n"
        "snapshots. The disk of a running VM is copied as `snapshot create` does. The copy shares\n"
        "the base image; on btrfs and XFS, copying a stopped VM takes a moment and no extra\n"
        "space. With cloud-init the guest gets its own identity: host name, instance-id, host\n"
        "keys, machine-id and vmctl key. MAC address, SSH port, and the host ports of forwards\n"
        "and `vnc` are new, too. Provision steps that have run count as run. The copy has none of\n"
        "the VM's volumes, and neither VM depends on the other: you can destroy either.",
    .examples = "  vmctl clone web web2 --start\n"
                "  vmctl clone web@clean try",
    .options = options,
    .values_size = sizeof(struct clone_values),
    .defaults = &defaults,
    .acts = true,
    .run = run,
};
