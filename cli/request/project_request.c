/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/project_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/request/prune.h"
#include "cli/request/source_settled.h"
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

bool bring_has_instance(const struct bring *bring, size_t i)
{
    const struct vm_status *status = bring->records[i].status;
    return status && status->instance.iid[0];
}

/* Why a VM whose spec does not change is not as it is asked for, as the controller told last;
 * REASON_NONE: it is, or what was told is of an older wish. */
static enum reason drift_of(const struct bring *bring, size_t i)
{
    char digest[DIGEST_SIZE];
    const struct vm_record *record = &bring->records[i];
    const struct vm_status *status = record_status(record);
    const struct condition *synced = status ? &status->conditions[CONDITION_SYNCED] : NULL;
    if (!synced || synced->state != CONDITION_FALSE ||
        synced->observed_generation < record->desired->generation) {
        return REASON_NONE;
    }
    vm_spec_digest(bring->ask.wishes[i].spec, digest);
    return text_eq(digest, record->desired->spec_digest) ? synced->reason : REASON_NONE;
}

bool bring_needs_restart(const struct bring *bring, size_t i)
{
    return outcome_needs(&bring->pending[i], DISPOSITION_RESTART) ||
        drift_of(bring, i) == REASON_RESTART_REQUIRED;
}

bool bring_needs_new_disk(const struct bring *bring, size_t i)
{
    const struct vm_status *status = bring->records[i].status;
    bool is_image_changed = status &&
        status->conditions[CONDITION_IMAGE_READY].reason == REASON_BACKING_IMAGE_CHANGED;
    return is_image_changed || outcome_needs(&bring->pending[i], DISPOSITION_RECREATE) ||
        drift_of(bring, i) == REASON_RECREATE_REQUIRED;
}

/* ---- what is said of each VM ---- */

static bool is_provisioning(const struct bring *bring, size_t i)
{
    const struct wish *wish = &bring->ask.wishes[i];
    const struct vm_status *status = bring->records[i].status;
    enum wish_result result = bring->ask.outcomes[i].result;
    bool is_begun =
        result == WISH_CREATED || result == WISH_STARTED || result == WISH_RECREATED;
    return wish->provision == PROVISION_AGAIN ||
        (wish->provision == PROVISION_ON_START &&
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

static bool stays_off(const struct bring *bring, size_t i)
{
    const struct wish *wish = &bring->ask.wishes[i];
    const struct vm_desired *desired = bring->records[i].desired;
    enum power power = wish->sets_power ? wish->power : desired ? desired->power : POWER_STOPPED;
    return !bring_has_instance(bring, i) && power == POWER_STOPPED;
}

/* The first of the provision steps that were appended, from 1; 0: none were, or `left_out` is their
 * list. */
static uint32_t first_appended(const struct bring *bring, size_t i, const char *left_out)
{
    const struct vm_status *status = record_status(&bring->records[i]);
    const struct vm_spec *spec = bring->ask.wishes[i].spec;
    bool is_appended =
        status && vm_steps_standing(&status->provision, spec, left_out) == STEPS_APPENDED;
    return is_appended ? status->provision.total + 1 : 0;
}

/* Such steps that this wish leaves out, or that an earlier one did and this one runs. */
static void view_steps(struct outcome_view *view, const struct bring *bring, size_t i)
{
    const struct vm_desired *desired = bring->records[i].desired;
    uint32_t first = first_appended(bring, i, "");
    if (view->is_recreating) {
        return; /* nothing was run on the disk that comes */
    }
    if (bring->ask.wishes[i].provision == PROVISION_SKIP) {
        view->left_out_from = first;
    } else if (desired && !first_appended(bring, i, desired->skipped_steps)) {
        view->taken_up_from = first;
    }
}

static void view_drift(struct outcome_view *view, const struct bring *bring, size_t i)
{
    view->drift = drift_of(bring, i);
    if (view->drift != REASON_NONE) {
        view->drift_message = bring->records[i].status->conditions[CONDITION_SYNCED].message;
    }
}

static void tell(const struct cli *cli, const struct ask *ask, size_t i)
{
    const struct bring *bring = ask->context;
    const struct wish *wish = &ask->wishes[i];
    cleanup_buf struct buf out = BUF_INIT(0);
    struct outcome_view view = {
        .name = wish->name,
        .outcome = &ask->outcomes[i],
        .pending = &bring->pending[i],
        .has_instance = bring_has_instance(bring, i),
        .stays_off = stays_off(bring, i),
        .is_restarting = wish->restarts,
        .is_recreating = wish->recreates,
        .is_provisioning = is_provisioning(bring, i),
    };
    view_steps(&view, bring, i);
    view_drift(&view, bring, i);
    if (answer_is_open(cli)) {
        answer_waiting(cli, &view);
        answer_result(cli, wish->name, bring->is_dry_run ? "planned" : "pending");
        return;
    }
    outcome_describe(&out, &view);
    print_lines(buf_str(&out), bring->is_dry_run ? " (dry run)" : "");
}

/* ---- preparation ---- */

static int prepare_one(struct cli *cli, struct bring *bring, size_t i, struct error *err)
{
    struct wish *wish = &bring->ask.wishes[i];
    for (size_t at = 0; at < bring->project.file->n_vms; at++) {
        struct vm_spec *spec = bring->project.file->vms[at];
        if (text_eq(spec->name, wish->name)) {
            int rc = wish_read_files(spec, err);
            if (rc < 0) {
                return rc;
            }
            wish->spec = spec;
        }
    }
    wish->source = bring->project.path;
    int rc = store_get(cli->store, wish->name, &bring->records[i], err);
    if (rc == 0) {
        bring->pending[i] = pending_changes(&bring->records[i], wish->spec);
    }
    return rc;
}

/* ---- the VMFile's own record ---- */

static int add_source(void *context, struct store_batch *batch, struct error *err)
{
    struct bring *bring = context;
    const struct vmfile_load *load = &bring->project.load;
    return bring->registration
        ? sources_add_registration(bring->store, batch, bring->registration, err)
        : sources_add_applied(
              bring->store, batch, load->path, load->sha256, bring->digest, err);
}

/* Only what all VMs of the file come from was applied. */
static int note_source(struct cli *cli, struct bring *bring, struct error *err)
{
    if (bring->targets.count < bring->project.file->n_vms) {
        return 0;
    }
    bring->store = cli->store;
    bring->extra = (struct wish_extra){add_source, bring};
    bring->ask.extra = &bring->extra;
    return vmfile_load_named(&bring->project.load, bring->digest, err);
}

int bring_watch(struct bring *bring, enum source_prune prune, bool starts_new, struct error *err)
{
    if (!bring->ask.extra) {
        (void)error_set(err, ERR_USAGE, "--watch is for a whole VMFile, not for some of its VMs");
        return error_help(err, "leave the names out, or --watch");
    }
    int rc = watched_check(bring->project.path, err);
    if (rc < 0) {
        return rc;
    }
    struct source_record *record =
        source_record_new(bring->project.path, clock_wall_ms(clock_system()));
    record->prune = prune;
    record->starts_new = starts_new;
    memcpy(record->applied_sha, bring->project.load.sha256, DIGEST_SIZE);
    memcpy(record->applied_digest, bring->digest, DIGEST_SIZE);
    bring->registration = record;
    return 0;
}

int bring_prepare(struct cli *cli, struct bring *bring, const struct which_values *which,
    const struct arg_texts *words, struct error *err)
{
    int rc = project_load(cli, which->file, &bring->project, err);
    if (rc != 0) {
        return rc;
    }
    rc = targets_of_project(&bring->project, which, words, &bring->targets, err);
    if (rc < 0 || (rc = cli_open_store(cli, err)) < 0) {
        return rc;
    }
    bring->n_named = bring->targets.count;
    if (bring->wants_dependencies) {
        targets_add_dependencies(&bring->project, &bring->targets);
    }
    ask_init(&bring->ask, &bring->targets, &(struct wish){.name = NULL});
    bring->ask.tell = tell;
    bring->ask.context = bring;
    bring->records = mem_calloc(bring->targets.count, sizeof(*bring->records));
    bring->pending = mem_calloc(bring->targets.count, sizeof(*bring->pending));
    for (size_t i = 0; rc == 0 && i < bring->targets.count; i++) {
        rc = prepare_one(cli, bring, i, err);
    }
    return rc < 0 ? rc : note_source(cli, bring, err);
}

void bring_clear(struct bring *bring)
{
    for (size_t i = 0; bring->records && i < bring->targets.count; i++) {
        vm_record_clear(&bring->records[i]);
        spec_diff_clear(&bring->pending[i]);
    }
    free(TAKE_PTR(bring->records));
    free(TAKE_PTR(bring->pending));
    source_record_free(TAKE_PTR(bring->registration));
    ask_clear(&bring->ask);
    targets_clear(&bring->targets);
    project_clear(&bring->project);
}

int bring_plan(struct cli *cli, struct bring *bring, struct error *err)
{
    struct ask *ask = &bring->ask;
    bring->is_dry_run = true;
    int rc = wish_plan(cli->store, ask->wishes, ask->count, ask->outcomes, err);
    if (rc == 0) {
        ask_tell(cli, ask);
    }
    return rc;
}

/* ---- deletions under way ---- */

int bring_await_deletions(
    struct cli *cli, const struct bring *bring, int64_t timeout_ms, struct error *err)
{
    size_t count = 0;
    cleanup_free struct follow_target *targets =
        mem_calloc(bring->targets.count, sizeof(*targets));
    for (size_t i = 0; i < bring->targets.count; i++) {
        const struct vm_desired *desired = bring->records[i].desired;
        if (!desired || !desired->is_deleting) {
            continue;
        }
        cli_note(cli, "%s: is being deleted; waiting until it is gone", bring->targets.names[i]);
        targets[count].name = bring->targets.names[i];
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

int bring_carry_out(struct cli *cli, struct bring *bring, enum source_prune prune,
    const struct follow_values *follow, struct error *err)
{
    int rc = prune_removed(cli, &bring->project, prune, err);
    if (rc == 0) {
        rc = ask_carry_out(cli, &bring->ask, follow, err);
    }
    if (rc >= 0 && bring->registration) {
        cli_note(cli, "watching '%s' (end it: vmctl unwatch)", bring->project.path);
    }
    return rc;
}
