/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/vm_request.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "cli/request/secrets.h"
#include "cli/request/targets.h"
#include "cli/show/result.h"
#include "cli/wait/follow.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/reserve.h"
#include "specs/base/vm_name.h"

void vm_request_init(
    struct request *request, const struct strings *targets, const struct change *pattern)
{
    request->count = targets->count;
    request->changes = mem_calloc(request->count, sizeof(*request->changes));
    request->outcomes = mem_calloc(request->count, sizeof(*request->outcomes));
    for (size_t i = 0; i < request->count; i++) {
        request->changes[i] = *pattern;
        request->changes[i].name = targets->items[i];
    }
}

void vm_request_clear(struct request *request)
{
    for (size_t i = 0; i < request->count; i++) {
        change_outcome_clear(&request->outcomes[i]);
    }
    free(TAKE_PTR(request->outcomes));
    free(TAKE_PTR(request->changes));
    free(TAKE_PTR(request->goals));
    request->count = 0;
}

void vm_request_report(const struct cli *cli, const struct request *request)
{
    for (size_t i = 0; i < request->count; i++) {
        result_outcome(cli, request->changes[i].name, &request->outcomes[i]);
        if (request->report) {
            request->report(cli, request, i);
        }
    }
}

static int follow_all(struct cli *cli, struct request *request, struct log_stream *streams,
    int64_t timeout_ms, struct error *err)
{
    cleanup_free struct follow_target *targets = mem_calloc(request->count, sizeof(*targets));
    for (size_t i = 0; i < request->count; i++) {
        targets[i].name = request->changes[i].name;
        memcpy(targets[i].uid, request->outcomes[i].uid, TEXT_ID_SIZE);
        targets[i].generation = request->outcomes[i].generation;
        targets[i].goal = request->goals ? request->goals[i] : request->goal;
        targets[i].goal.order = request->changes[i].snapshot;
        targets[i].goal.attaches = request->changes[i].attaches;
        targets[i].goal.detaches = request->changes[i].detaches;
        targets[i].goal.from = request->changes[i].provision_from;
        memcpy(targets[i].goal.token,
            targets[i].goal.order ? request->outcomes[i].snapshot_token
                                  : request->outcomes[i].provision_token,
            TEXT_ID_SIZE);
        targets[i].goal.is_patient = timeout_ms != FOLLOW_TIMEOUT_MS;
        targets[i].is_for_us = request->is_for_us;
        targets[i].provision = request->shows_provision ? &streams[i] : NULL;
    }
    int rc = follow(cli, targets, request->count, timeout_ms, err);
    for (size_t i = 0; request->done && i < request->count; i++) {
        if (targets[i].result == GOAL_REACHED) {
            result_print(cli, targets[i].name, request->done);
        }
    }
    return rc;
}

static int apply(struct cli *cli, struct request *request, struct error *err)
{
    for (size_t i = 0; i < request->count; i++) {
        struct change *change = &request->changes[i];
        bool ends = change->deletes || change->snapshot ||
                    (change->sets_power && change->power == POWER_STOPPED);
        change->proxies = ends ? NULL : cli->proxies;
    }
    int rc = change_apply_with(
        cli->store, request->changes, request->count, request->extra, request->outcomes, err);
    for (size_t i = 0; rc == 0 && i < request->count; i++) {
        if (request->outcomes[i].drops_memory) {
            cli_note(cli, "%s: its saved memory is discarded, as in a power cut",
                request->changes[i].name);
        }
    }
    return rc;
}

/* Stopping counts: a guest that runs may be what fills the disk. */
static bool frees_room(const struct request *request)
{
    for (size_t i = 0; i < request->count; i++) {
        const struct change *change = &request->changes[i];
        bool removes = change->snapshot && change->snapshot->verb == SNAPSHOT_REMOVE;
        if (!change->deletes && !removes &&
            !(change->sets_power && change->power == POWER_STOPPED)) {
            return false;
        }
    }
    return true;
}

/* What is refused may have been asked for by a command that was killed, and is to come to its end.
 */
static bool may_be_under_way(const struct change *change, int rc)
{
    return (rc == -ERR_VM_CONFLICT && (change->snapshot || change->attaches)) ||
           (rc == -ERR_VOLUME_NOT_FOUND && change->detaches);
}

static int carry_out(struct cli *cli, struct request *request, struct log_stream *streams,
    const struct follow_values *values, struct error *err)
{
    int rc = secrets_hand_over(cli, request->changes, request->count, err);
    rc = rc < 0 ? rc : apply(cli, request, err);
    if (rc < 0 && frees_room(request) && reserve_give_up(&cli->paths, err)) {
        rc = apply(cli, request, err);
    }
    if (rc < 0 && may_be_under_way(&request->changes[0], rc)) {
        struct error ignored = {.code = ERR_NONE};
        (void)cli_ensure_controller(cli, &ignored);
    }
    if (rc < 0) {
        return rc;
    }
    vm_request_report(cli, request);
    rc = values->is_detached ? cli_ensure_controller(cli, err) : cli_start_controller(cli, err);
    if (rc < 0) {
        return rc;
    }
    if (values->is_detached) {
        for (size_t i = 0; request->begun && i < request->count; i++) {
            result_print(cli, request->changes[i].name, request->begun);
        }
        return 0;
    }
    return follow_all(cli, request, streams, values->timeout_ms, err);
}

int vm_request_check_name(const char *name, struct error *err)
{
    if (vm_name_is_valid(name)) {
        return 0;
    }
    (void)error_set(err, ERR_USAGE, "'%s' cannot be the name of a VM", name);
    return error_help(err,
        "use up to %d letters, digits, '.', '_' and '-', a letter or digit first", SPEC_NAME_MAX);
}

int vm_request_check_is_new(struct cli *cli, const char *name, struct error *err)
{
    bool is_taken = false;
    int rc = vm_request_check_name(name, err);
    rc = rc < 0 ? rc : cli_open_store(cli, err);
    rc = rc < 0 ? rc : store_has(cli->store, name, &is_taken, err);
    if (rc < 0 || !is_taken) {
        return rc;
    }
    (void)error_set(err, ERR_VM_CONFLICT, "vm '%s' exists already", name);
    return error_help(err, "choose another name; see what has this one: vmctl status %s", name);
}

int vm_request_run(
    struct cli *cli, struct request *request, const struct follow_values *values, struct error *err)
{
    /* From the logs' present ends: what is written after the change belongs to it. */
    struct log_stream *streams = mem_calloc(request->count, sizeof(*streams));
    bool is_among = request->count > 1 || project_is_part();
    for (size_t i = 0; request->shows_provision && i < request->count; i++) {
        const char *name = request->changes[i].name;
        cleanup_free char *path = paths_vm(&cli->paths, name, VM_PROVISION_LOG);
        cleanup_free char *prefix = is_among ? mem_printf("%s | ", name) : NULL;
        log_stream_open(&streams[i], path, prefix, true);
    }
    int rc = carry_out(cli, request, streams, values, err);
    for (size_t i = 0; i < request->count; i++) {
        log_stream_close(&streams[i]);
    }
    free(streams);
    return rc;
}
