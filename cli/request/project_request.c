/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/project_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/request/prune.h"
#include "cli/request/watched_source.h"
#include "cli/show/outcome.h"
#include "cli/show/result.h"
#include "cli/wait/follow.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_steps.h"
#include "store/desired/impact.h"
#include "store/desired/pending.h"
#include "store/source/sources.h"

bool project_request_has_instance(const struct project_request *project_request, size_t i)
{
    const struct vm_status *status = project_request->records[i].status;
    return status && status->instance.instance_id[0];
}

/* Why a VM whose spec does not change is not as it is asked for, as the controller told last;
 * REASON_NONE: it is, or what was told is of an older wish. */
static enum reason drift_of(const struct project_request *project_request, size_t i)
{
    char digest[DIGEST_SIZE];
    const struct vm_record *record = &project_request->records[i];
    const struct vm_status *status = record_status(record);
    const struct condition *synced = status ? &status->conditions[CONDITION_SYNCED] : NULL;
    if (!synced || synced->state != CONDITION_FALSE ||
        synced->observed_generation < record->desired->generation) {
        return REASON_NONE;
    }
    vm_spec_digest(project_request->request.changes[i].spec, digest);
    return text_eq(digest, record->desired->spec_digest) ? synced->reason : REASON_NONE;
}

bool project_request_needs_restart(const struct project_request *project_request, size_t i)
{
    return outcome_needs(&project_request->pending[i], DISPOSITION_RESTART) ||
        drift_of(project_request, i) == REASON_RESTART_REQUIRED;
}

bool project_request_needs_new_disk(const struct project_request *project_request, size_t i)
{
    const struct vm_status *status = project_request->records[i].status;
    bool is_image_changed = status &&
        status->conditions[CONDITION_IMAGE_READY].reason == REASON_BACKING_IMAGE_CHANGED;
    return is_image_changed || outcome_needs(&project_request->pending[i], DISPOSITION_RECREATE) ||
        drift_of(project_request, i) == REASON_RECREATE_REQUIRED;
}

/* ---- what is said of each VM ---- */

static bool is_provisioning(const struct project_request *project_request, size_t i)
{
    const struct change *change = &project_request->request.changes[i];
    const struct vm_status *status = project_request->records[i].status;
    enum change_result result = project_request->request.outcomes[i].result;
    bool is_begun =
        result == CHANGE_CREATED || result == CHANGE_STARTED || result == CHANGE_RECREATED;
    return change->provision == PROVISION_AGAIN ||
        (change->provision == PROVISION_ON_START &&
            (is_begun || (status && status->provision.is_failed)));
}

static void print_lines(const char *lines, const char *ending)
{
    while (*lines) {
        int n = (int)strcspn(lines, "\n");
        printf("%.*s%s\n", n, lines, ending);
        lines += n + 1;
    }
}

static bool stays_off(const struct project_request *project_request, size_t i)
{
    const struct change *change = &project_request->request.changes[i];
    const struct vm_desired *desired = project_request->records[i].desired;
    enum power power = change->sets_power ? change->power : desired ? desired->power : POWER_STOPPED;
    return !project_request_has_instance(project_request, i) && power == POWER_STOPPED;
}

/* The first of the provision steps that were appended, from 1; 0: none were, or `left_out` is their
 * list. */
static uint32_t first_appended(const struct project_request *project_request, size_t i, const char *left_out)
{
    const struct vm_status *status = record_status(&project_request->records[i]);
    const struct vm_spec *spec = project_request->request.changes[i].spec;
    bool is_appended =
        status && vm_steps_state(&status->provision, spec, left_out) == STEPS_APPENDED;
    return is_appended ? status->provision.total + 1 : 0;
}

/* Such steps that this wish leaves out, or that an earlier one did and this one runs. */
static void view_steps(struct outcome_view *view, const struct project_request *project_request, size_t i)
{
    const struct vm_desired *desired = project_request->records[i].desired;
    uint32_t first = first_appended(project_request, i, "");
    if (view->is_recreating) {
        return; /* nothing was run on the disk that comes */
    }
    if (project_request->request.changes[i].provision == PROVISION_SKIP) {
        view->left_out_from = first;
    } else if (desired && !first_appended(project_request, i, desired->skipped_steps)) {
        view->taken_up_from = first;
    }
}

static void view_drift(struct outcome_view *view, const struct project_request *project_request, size_t i)
{
    view->drift = drift_of(project_request, i);
    if (view->drift != REASON_NONE) {
        view->drift_message = project_request->records[i].status->conditions[CONDITION_SYNCED].message;
    }
}

static void report(const struct cli *cli, const struct request *request, size_t i)
{
    const struct project_request *project_request = request->context;
    const struct change *change = &request->changes[i];
    cleanup_buf struct buf out = BUF_INIT(0);
    struct outcome_view view = {
        .name = change->name,
        .outcome = &request->outcomes[i],
        .pending = &project_request->pending[i],
        .has_instance = project_request_has_instance(project_request, i),
        .stays_off = stays_off(project_request, i),
        .is_restarting = change->restarts,
        .is_recreating = change->recreates,
        .is_provisioning = is_provisioning(project_request, i),
    };
    view_steps(&view, project_request, i);
    view_drift(&view, project_request, i);
    if (result_is_open(cli)) {
        result_waiting(cli, &view);
        result_set(cli, change->name, project_request->is_dry_run ? "planned" : "pending");
        return;
    }
    outcome_describe(&out, &view);
    print_lines(buf_str(&out), project_request->is_dry_run ? " (dry run)" : "");
}

/* ---- preparation ---- */

static int prepare_one(struct cli *cli, struct project_request *project_request, size_t i, struct error *err)
{
    struct change *change = &project_request->request.changes[i];
    for (size_t at = 0; at < project_request->project.file->n_vms; at++) {
        struct vm_spec *spec = project_request->project.file->vms[at];
        if (text_eq(spec->name, change->name)) {
            int rc = change_read_files(spec, err);
            if (rc < 0) {
                return rc;
            }
            change->spec = spec;
        }
    }
    change->source = project_request->project.path;
    int rc = store_get(cli->store, change->name, &project_request->records[i], err);
    if (rc == 0) {
        project_request->pending[i] = pending_changes(&project_request->records[i], change->spec);
    }
    return rc;
}

/* ---- the VMFile's own record ---- */

static int add_source(void *context, struct store_batch *batch, struct error *err)
{
    struct project_request *project_request = context;
    const struct vmfile_load *load = &project_request->project.load;
    return project_request->registration
        ? sources_add_registration(project_request->store, batch, project_request->registration, err)
        : sources_add_applied(
              project_request->store, batch, load->path, load->sha256, project_request->digest, err);
}

/* Only what all VMs of the file come from was applied. */
static int note_source(struct cli *cli, struct project_request *project_request, struct error *err)
{
    if (project_request->targets.count < project_request->project.file->n_vms) {
        return 0;
    }
    project_request->store = cli->store;
    project_request->extra = (struct change_extra){add_source, project_request};
    project_request->request.extra = &project_request->extra;
    return vmfile_load_referenced(&project_request->project.load, project_request->digest, err);
}

int project_request_watch(struct project_request *project_request, enum source_prune prune, bool starts_new, struct error *err)
{
    if (!project_request->request.extra) {
        (void)error_set(err, ERR_USAGE, "--watch is for a whole VMFile, not for some of its VMs");
        return error_help(err, "leave the names out, or --watch");
    }
    int rc = watched_source_check(project_request->project.path, err);
    if (rc < 0) {
        return rc;
    }
    struct source_record *record =
        source_record_new(project_request->project.path, clock_wall_ms(clock_system()));
    record->prune = prune;
    record->starts_new = starts_new;
    memcpy(record->applied_sha, project_request->project.load.sha256, DIGEST_SIZE);
    memcpy(record->applied_digest, project_request->digest, DIGEST_SIZE);
    project_request->registration = record;
    return 0;
}

int project_request_prepare(struct cli *cli, struct project_request *project_request, const struct which_values *which,
    const struct arg_strings *words, struct error *err)
{
    int rc = project_load(cli, which->file, &project_request->project, err);
    if (rc != 0) {
        return rc;
    }
    rc = targets_of_project(&project_request->project, which, words, &project_request->targets, err);
    if (rc < 0 || (rc = cli_open_store(cli, err)) < 0) {
        return rc;
    }
    project_request->n_named = project_request->targets.count;
    if (project_request->wants_dependencies) {
        targets_add_dependencies(&project_request->project, &project_request->targets);
    }
    vm_request_init(&project_request->request, &project_request->targets, &(struct change){.name = NULL});
    project_request->request.report = report;
    project_request->request.context = project_request;
    project_request->records = mem_calloc(project_request->targets.count, sizeof(*project_request->records));
    project_request->pending = mem_calloc(project_request->targets.count, sizeof(*project_request->pending));
    for (size_t i = 0; rc == 0 && i < project_request->targets.count; i++) {
        rc = prepare_one(cli, project_request, i, err);
    }
    return rc < 0 ? rc : note_source(cli, project_request, err);
}

void project_request_clear(struct project_request *project_request)
{
    for (size_t i = 0; project_request->records && i < project_request->targets.count; i++) {
        vm_record_clear(&project_request->records[i]);
        spec_diff_clear(&project_request->pending[i]);
    }
    free(TAKE_PTR(project_request->records));
    free(TAKE_PTR(project_request->pending));
    source_record_free(TAKE_PTR(project_request->registration));
    vm_request_clear(&project_request->request);
    targets_clear(&project_request->targets);
    project_clear(&project_request->project);
}

int project_request_plan(struct cli *cli, struct project_request *project_request, struct error *err)
{
    struct request *request = &project_request->request;
    project_request->is_dry_run = true;
    int rc = change_plan(cli->store, request->changes, request->count, request->outcomes, err);
    if (rc == 0) {
        vm_request_report(cli, request);
    }
    return rc;
}

/* ---- deletions under way ---- */

int project_request_await_deletions(
    struct cli *cli, const struct project_request *project_request, int64_t timeout_ms, struct error *err)
{
    size_t count = 0;
    cleanup_free struct follow_target *targets =
        mem_calloc(project_request->targets.count, sizeof(*targets));
    for (size_t i = 0; i < project_request->targets.count; i++) {
        const struct vm_desired *desired = project_request->records[i].desired;
        if (!desired || !desired->is_deleting) {
            continue;
        }
        cli_note(cli, "%s: is being deleted; waiting until it is gone", project_request->targets.names[i]);
        targets[count].name = project_request->targets.names[i];
        memcpy(targets[count].uid, desired->uid, TEXT_ID_SIZE);
        targets[count].goal.kind = GOAL_DELETED;
        count++;
    }
    if (count == 0) {
        return 0;
    }
    int rc = cli_ensure_controller(cli, err);
    return rc < 0 ? rc : follow(cli, targets, count, timeout_ms, err);
}

int project_request_run(struct cli *cli, struct project_request *project_request, enum source_prune prune,
    const struct follow_values *follow, struct error *err)
{
    int rc = prune_removed(cli, &project_request->project, prune, err);
    if (rc == 0) {
        rc = vm_request_run(cli, &project_request->request, follow, err);
    }
    if (rc >= 0 && project_request->registration) {
        cli_note(cli, "watching '%s' (end it: vmctl unwatch)", project_request->project.path);
    }
    return rc;
}
