/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/origin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/request/vm_request.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_desired.h"

static int order_snapshot(struct cli *cli, const struct origin *origin,
    const struct snapshot_order *order, const struct follow_values *follow, struct error *err)
{
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    struct change change = {.snapshot = order};
    cleanup_with(vm_request_clear) struct request request = {.goal = {.kind = GOAL_SNAPSHOT}};
    strings_add(&targets, origin->vm);
    vm_request_init(&request, &targets, &change);
    return vm_request_run(cli, &request, follow, err);
}

/* One that nobody takes goes by itself. */
static int snapshot_present(struct cli *cli, const struct origin *origin,
    const struct follow_values *follow, struct snapshot_order *order, struct error *err)
{
    enum { KEEP_MS = 3600 * 1000 };
    char unique[TEXT_ID_SIZE];
    struct follow_values until_done = *follow;
    until_done.is_detached = false;
    digest_random_id(unique);
    order->keep_ms = KEEP_MS;
    (void)snprintf(order->name, sizeof(order->name), "%s%s", SNAPSHOT_PASSING, unique);
    return order_snapshot(cli, origin, order, &until_done, err);
}

int origin_check(struct cli *cli, const char *name, struct error *err)
{
    struct arg_strings word = {.items = &name, .count = 1};
    cleanup_with(strings_clear) struct strings found = {.count = 0};
    return targets_find_named(cli, &(struct which_values){.is_all = false}, &word, &found, err);
}

int origin_check_archivable(struct cli *cli, const char *name, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = origin_check(cli, name, err);
    rc = rc == 0 ? store_get(cli->store, name, &record, err) : rc;
    if (rc != 0 || !record.desired || record.desired->spec->backend == BACKEND_QEMU) {
        return rc;
    }
    (void)error_set(
        err, ERR_BACKEND_UNAVAILABLE, "vmctl does not manage the disk of vm '%s' as a file", name);
    return error_help(err, "only VMs of backend \"qemu\" are exported and backed up");
}

static int read_snapshot(
    struct cli *cli, const char *name, bool is_taken, struct origin *ret, struct error *err)
{
    int rc = store_get(cli->store, ret->vm, &ret->record, err);
    if (rc < 0) {
        return rc;
    }
    const struct vm_snapshot *snapshot =
        ret->record.status ? vm_status_snapshot(ret->record.status, name) : NULL;
    if (is_taken && (!snapshot || !ret->record.desired)) {
        (void)error_set(
            err, ERR_VM_CONFLICT, "vm '%s' was renamed, destroyed or replaced meanwhile", ret->vm);
        return error_help(err, "see: vmctl list");
    }
    if (!snapshot || !ret->record.desired) {
        return error_set(
            err, ERR_SNAPSHOT_NOT_FOUND, "vm '%s' has no snapshot '%s'", ret->vm, name);
    }
    if (!is_taken && snapshot->volume) {
        return error_set(err, ERR_VM_INVALID_STATE,
            "vm '%s': '%s' is a backup copy of volume '%s', not of the VM's disk", ret->vm, name,
            snapshot->volume);
    }
    ret->of = (struct vm_origin){.vm = ret->vm, .is_taken = is_taken, .snapshot = *snapshot};
    return 0;
}

/* Who copies a disk expects one that was shut down. */
static void note_consistency(const struct cli *cli, const struct origin *origin)
{
    const struct vm_snapshot *snapshot = &origin->of.snapshot;
    if (!snapshot->was_used && vm_snapshot_is_crash_consistent(snapshot)) {
        cli_note(cli,
            "note: the disk of '%s' is crash-consistent: its guest was ended without a shutdown",
            origin->vm);
    }
}

int origin_find(struct cli *cli, const char *word, const struct follow_values *follow,
    struct origin *ret, struct error *err)
{
    const char *at = strchr(word, '@');
    struct snapshot_order order = {.verb = SNAPSHOT_CREATE};
    ret->vm = mem_strndup(word, at ? (size_t)(at - word) : strlen(word));
    int rc = origin_check(cli, ret->vm, err);
    rc = rc == 0 && !at ? snapshot_present(cli, ret, follow, &order, err) : rc;
    rc = rc != 0 ? rc : read_snapshot(cli, at ? at + 1 : order.name, !at, ret, err);
    if (rc == 0) {
        note_consistency(cli, ret);
    }
    return rc;
}

int origin_back_up(struct cli *cli, const char *vm, const char *volume, const char *since,
    const struct follow_values *follow, struct origin *ret, struct error *err)
{
    struct snapshot_order order = {.verb = SNAPSHOT_CREATE, .begins_bitmap = true};
    (void)snprintf(order.since, sizeof(order.since), "%s", since);
    (void)snprintf(order.volume, sizeof(order.volume), "%s", volume ? volume : "");
    ret->vm = mem_strdup(vm);
    int rc = origin_check(cli, vm, err);
    rc = rc == 0 ? snapshot_present(cli, ret, follow, &order, err) : rc;
    rc = rc != 0 ? rc : read_snapshot(cli, order.name, true, ret, err);
    if (rc == 0) {
        note_consistency(cli, ret);
    }
    return rc;
}

void origin_release(struct cli *cli, const struct origin *origin)
{
    enum { PATIENCE_MS = 10000 };
    struct error ignored = {.code = ERR_NONE}; /* then it goes in an hour */
    struct snapshot_order order = {.verb = SNAPSHOT_REMOVE};
    if (origin->of.is_taken) {
        bool was_quiet = cli->is_quiet;
        (void)snprintf(order.name, sizeof(order.name), "%s", origin->of.snapshot.name);
        cli->is_quiet = true;
        (void)order_snapshot(
            cli, origin, &order, &(struct follow_values){.timeout_ms = PATIENCE_MS}, &ignored);
        cli->is_quiet = was_quiet;
    }
}

void origin_clear(struct origin *origin)
{
    free(origin->vm);
    vm_record_clear(&origin->record);
}

int origin_create_vm(struct cli *cli, const struct vm_spec *spec, const struct vm_origin *of,
    const char *uid, bool starts, const struct origin_words *words,
    const struct follow_values *follow, struct error *err)
{
    const struct change pattern = {
        .spec = spec,
        .must_be_new = true,
        .holds_ports = true,
        .origin = of,
        .origin_uid = uid,
        .wants_prepared = true,
        .sets_power = starts,
        .power = POWER_RUNNING,
    };
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    cleanup_with(vm_request_clear) struct request request = {
        .goal = {.kind = starts ? GOAL_READY : GOAL_PREPARED, .allows_drift = true},
        .begun = words->begun,
        .done = starts ? words->started : words->done,
    };
    strings_add(&targets, spec->name);
    vm_request_init(&request, &targets, &pattern);
    return vm_request_run(cli, &request, follow, err);
}
