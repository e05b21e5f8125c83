/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/project_request.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/request/confirm.h"
#include "cli/request/project.h"
#include "cli/request/protected.h"
#include "cli/request/targets.h"
#include "cli/request/vm_request.h"
#include "cli/request/watched_source.h"
#include "cli/show/outcome.h"
#include "cli/show/result.h"
#include "cli/wait/follow.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/proxies.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "store/desired/impact.h"
#include "store/desired/pending.h"
#include "store/desired/rename.h"
#include "store/source/sources.h"
#include "store/store.h"

const struct project_values project_defaults = {.follow.timeout_ms = FOLLOW_TIMEOUT_MS};

struct project_request {
    struct cli *cli;
    const struct project_action *action;
    const struct project_values *values;
    enum source_prune prune;
    struct project project;
    struct strings targets;
    size_t n_named; /* of the targets; the others, behind them, are what they depend on */
    struct vm_record *records;          /* before the changes; one for each target */
    struct request request;             /* the changes; then their outcomes */
    struct strings removed;             /* VMs that the file no longer names, if that matters */
    struct protected_vms kept;          /* which are not recreated */
    struct source_record *registration; /* the VMFile is to be watched; NULL: not requested */
    char digest[DIGEST_SIZE];           /* see digest_of_file() */
    struct change_extra extra;
};

static void project_request_clear(struct project_request *request)
{
    for (size_t i = 0; request->records && i < request->targets.count; i++) {
        vm_record_clear(&request->records[i]);
    }
    free(TAKE_PTR(request->records));
    source_record_free(TAKE_PTR(request->registration));
    vm_request_clear(&request->request);
    strings_clear(&request->targets);
    strings_clear(&request->removed);
    project_clear(&request->project);
}

/* ---- load: the file, the files it names, and what is known of its VMs ---- */

/* Returns as project_load() does. */
static int load(struct project_request *request, const struct arg_strings *words, struct error *err)
{
    struct project *project = &request->project;
    struct strings *targets = &request->targets;
    int rc = project_load(request->cli, &request->values->which.files, project, err);
    if (rc != 0) {
        return rc;
    }
    rc = targets_of_project(project, &request->values->which, words, targets, err);
    if (rc == 0 && request->action->recreates) {
        rc = protected_leave_out(request->cli, project, targets, &request->kept, err);
    }
    if (rc < 0 || (rc = cli_open_store(request->cli, err)) < 0) {
        return rc;
    }
    request->n_named = targets->count;
    if (request->action->brings_dependencies && !request->values->is_alone) {
        targets_add_dependencies(project, targets);
    }
    vm_request_init(&request->request, targets, &(struct change){.name = NULL});
    request->records = mem_calloc(targets->count, sizeof(*request->records));
    for (size_t i = 0; rc == 0 && i < targets->count; i++) {
        struct change *change = &request->request.changes[i];
        struct vm_spec *spec = project_find_vm(project, change->name, i);
        change->spec = spec;
        change->source = project->path;
        project_note_unused(request->cli, spec);
        rc = change_read_files(spec, err);
        if (rc == 0) {
            rc = store_get(request->cli->store, change->name, &request->records[i], err);
        }
        change->known = &request->records[i];
        if (rc == 0) {
            spec->image.is_of_disk = record_has_image(&request->records[i], spec);
        }
    }
    return rc;
}

/* ---- the VMFile's own record, written in the transaction of the changes ---- */

static struct source_applied applied_of(
    const struct project_request *request, const struct strings *inputs)
{
    return (struct source_applied){
        .load = &request->project.load,
        .is_whole = request->request.extra,
        .names = &request->targets,
        .inputs = inputs,
        .overrides = &request->project.overrides,
        .prune = request->prune,
    };
}

static int add_source(void *context, struct store_batch *batch, struct error *err)
{
    const struct project_request *request = context;
    struct store *store = request->cli->store;
    if (request->registration) {
        return sources_add_registration(store, batch, request->registration, err);
    }
    cleanup_with(strings_clear) struct strings inputs = {.count = 0};
    vmfile_load_note_inputs(&request->project.load, &request->cli->given, &inputs);
    const struct source_applied applied = applied_of(request, &inputs);
    return sources_add_applied(store, batch, &applied, err);
}

/* Before the first effect: --prune and what is being deleted come before the transaction. */
static int check_source(struct project_request *request, struct error *err)
{
    cleanup_with(strings_clear) struct strings inputs = {.count = 0};
    vmfile_load_note_inputs(&request->project.load, &request->cli->given, &inputs);
    const struct source_applied applied = applied_of(request, &inputs);
    return sources_check_applied(request->cli->store, &applied, err);
}

static int register_source(struct project_request *request, struct error *err)
{
    const struct project *project = &request->project;
    if (!request->request.extra) {
        (void)error_set(err, ERR_USAGE, "--watch is for a whole VMFile, not for some of its VMs");
        return error_help(err, "leave out the names, or --watch");
    }
    if (project->is_stdin) {
        return watched_source_refuse_stdin(err);
    }
    int rc = watched_source_check(project->path, err);
    rc = rc < 0 ? rc
                : watched_source_check_project(request->cli, &project->load, project->path, err);
    if (rc == 0) {
        struct source_record *record =
            source_record_new(project->path, clock_wall_ms(clock_system()));
        record->prune = request->prune;
        record->starts_new = request->action->starts;
        proxies_assign(&record->proxies, request->cli->proxies);
        cleanup_with(strings_clear) struct strings inputs = {.count = 0};
        vmfile_load_note_inputs(&project->load, &request->cli->given, &inputs);
        source_record_set_inputs(record, &inputs, &project->overrides);
        memcpy(record->applied_sha, project->load.sha256, DIGEST_SIZE);
        vmfile_load_digest(&project->load, record->applied_digest);
        request->registration = record;
    }
    return rc;
}

/* A file counts as applied only when all its VMs were meant. */
static int note_source(struct project_request *request, struct error *err)
{
    if (request->targets.count == request->project.file->n_vms) {
        request->extra = (struct change_extra){add_source, request};
        request->request.extra = &request->extra;
        int rc = vmfile_load_files(&request->project.load, err);
        if (rc < 0) {
            return rc;
        }
    }
    return request->values->watches ? register_source(request, err) : check_source(request, err);
}

/* ---- build the changes ---- */

/* What others depend on comes along, but loses nothing unless it is named, too. */
static void set_change_and_goal(struct project_request *request, size_t i, bool is_named)
{
    const struct project_action *action = request->action;
    const struct project_values *values = request->values;
    const struct vm_record *record = &request->records[i];
    struct change *change = &request->request.changes[i];
    change->sets_power = action->starts;
    change->power = POWER_RUNNING;
    change->retries = action->retries;
    change->takes_over = values->adopts;
    change->provision = values->skips_provision ? PROVISION_SKIP : action->provision;
    change->is_cold = values->is_cold;
    change->provision_from = values->from;
    change->recreates =
        is_named && record->desired &&
        (action->recreates || (values->recreates && record_needs_new_disk(record, change->spec)));
    size_t n_kept = request->kept.count;
    if (!action->recreates) { /* else they are left out altogether */
        protected_check(request->cli, record->desired, change, &request->kept);
    }
    change->recreates &= request->kept.count == n_kept;
    change->erases_at_once = values->erases_at_once;
    change->restarts = is_named && values->restarts && !change->recreates &&
                       record_needs_restart(record, change->spec);
    bool has_failed = record->status && record->status->provision.is_failed;
    struct goal *goal = &request->request.goals[i];
    *goal = action->goal;
    goal->ignores_steps = (action->ignores_skipped && values->skips_provision) ||
                          (action->ignores_failed && has_failed);
}

static void project_request_report(
    const struct cli *cli, const struct request *vm_request, size_t i)
{
    const struct project_request *request = vm_request->context;
    const struct change *change = &vm_request->changes[i];
    cleanup_with(spec_diff_clear) struct spec_diff pending =
        pending_changes(&request->records[i], change->spec);
    struct outcome_view view =
        outcome_view_of(&request->records[i], &pending, change, &vm_request->outcomes[i]);
    result_report(cli, &view, request->values->is_dry_run);
}

static int build_changes(struct project_request *request, struct error *err)
{
    struct request *vm_request = &request->request;
    int rc = 0;
    vm_request->goals = mem_calloc(vm_request->count, sizeof(*vm_request->goals));
    vm_request->shows_provision = true;
    vm_request->done = request->action->done;
    vm_request->report = project_request_report;
    vm_request->context = request;
    for (size_t i = 0; rc == 0 && i < vm_request->count; i++) {
        set_change_and_goal(request, i, i < request->n_named);
        rc = request->action->check ? request->action->check(request->cli, &request->records[i],
                                          &vm_request->changes[i], err)
                                    : 0;
    }
    return rc;
}

/* ---- VMs that the file no longer names ---- */

int prune_parse(const char *text, enum source_prune *ret, struct error *err)
{
    int prune = !text      ? SOURCE_PRUNE_NOTHING
                : !text[0] ? SOURCE_PRUNE_DESTROY
                           : enum_names_find(&source_prune_words, text);
    if (prune < 0) {
        return error_set(err, ERR_USAGE, "--prune: '%s' is neither stop nor destroy", text);
    }
    *ret = (enum source_prune)prune;
    return 0;
}

/* Of the VMFile and the files that it names; few commands ask for it. "" when not all its VMs are
 * meant. */
static const char *digest_of_file(struct project_request *request)
{
    if (!request->digest[0] && request->request.extra) {
        vmfile_load_digest(&request->project.load, request->digest);
    }
    return request->digest;
}

/* What the watch of the file does to what it no longer names; NULL: nothing, or it is done. */
static const char *what_watch_does(struct project_request *request, const char *name)
{
    struct store *store = request->cli->store;
    cleanup_with(vm_record_clear) struct vm_record vm = {.name = NULL};
    struct source_record *record = NULL;
    struct error ignored = {.code = ERR_NONE};
    const struct change destroy = {.name = name, .deletes = true};
    const char *ret = NULL;
    if (!request->registration &&
        sources_get(store, request->project.path, &record, &ignored) == 0 &&
        store_get(store, name, &vm, &ignored) == 0 && record && vm.desired &&
        vmfile_load_is_same_project(
            &request->project.load, &request->cli->given, &record->inputs) &&
        !text_eq(record->pruned_digest, digest_of_file(request))) {
        bool is_kept = change_check_protected(vm.desired, &destroy, &ignored) < 0;
        ret = record->prune == SOURCE_PRUNE_STOP                  ? "stops"
              : record->prune == SOURCE_PRUNE_DESTROY && !is_kept ? "destroys"
                                                                  : NULL;
    }
    source_record_free(record);
    return ret;
}

static void report_removed(struct project_request *request, const char *name, bool stops)
{
    const struct change_outcome outcome = {.result = stops ? CHANGE_STOPPED : CHANGE_DELETED};
    const char *follows = what_watch_does(request, name);
    if (request->prune == SOURCE_PRUNE_NOTHING && follows) {
        cli_note(request->cli,
            "note: vm '%s' is no longer in %s, which is watched with --prune: vmctld %s it", name,
            strrchr(request->project.path, '/') + 1, follows);
        return;
    }
    if (request->prune == SOURCE_PRUNE_NOTHING) {
        cli_note(request->cli,
            "note: vm '%s' is no longer in %s and is left as it is (vmctl up "
            "--prune destroys it)",
            name, strrchr(request->project.path, '/') + 1);
        return;
    }
    result_outcome(request->cli, name, &outcome);
    result_set(request->cli, name, "planned");
    result_print(request->cli, name, stops ? "stopped (dry run)" : "destroyed (dry run)");
}

/* Those of other jobs, or what it left when its `project` was changed. */
static void note_others(const struct project_request *request, const struct strings *known)
{
    const char *project = request->project.file->project, *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < known->count; i++) {
        bool is_other = !vm_name_is_of(known->items[i], project);
        first = is_other && !first ? known->items[i] : first;
        n += is_other;
    }
    cleanup_free char *more = n > 1 ? mem_printf(" and %zu more", n - 1) : mem_strdup("");
    if (first) {
        cli_note(request->cli,
            "note: VMs of %s that %s%s are left as they are: %s%s (vmctl list "
            "--all-projects)",
            strrchr(request->project.path, '/') + 1,
            project ? "do not belong to project " : "belong to a project", project ? project : "",
            first, more);
    }
}

static int find_removed(struct project_request *request, struct error *err)
{
    cleanup_with(strings_clear) struct strings known = {.count = 0};
    int rc = targets_of_source(request->cli, request->project.path, &known, err);
    if (rc == 0 && !request->cli->has_given_scope) {
        note_others(request, &known);
    }
    vm_names_keep(&known, request->project.file->project);
    return rc < 0 ? rc
                  : rename_find_removed(
                        request->cli->store, &known, request->project.file, &request->removed, err);
}

/* What `protect` keeps is not destroyed because it is no longer named. */
static int keep_protected(struct project_request *request, struct error *err)
{
    struct strings left = {.count = 0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < request->removed.count; i++) {
        const struct change destroy = {.name = request->removed.items[i], .deletes = true};
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        struct error refusal = {.code = ERR_NONE};
        rc = store_get(request->cli->store, destroy.name, &record, err);
        if (record.desired && change_check_protected(record.desired, &destroy, &refusal) < 0) {
            cli_note(request->cli,
                "note: vm '%s' is no longer in %s, but is protected and stays as it is (to destroy "
                "it, add its block again without `protect`, then: vmctl apply %s)",
                destroy.name, strrchr(request->project.path, '/') + 1, destroy.name);
        } else {
            strings_append(&left, destroy.name);
        }
    }
    strings_clear(&request->removed);
    request->removed = left;
    return rc;
}

static int prune_removed(struct project_request *request, struct error *err)
{
    const struct strings *removed = &request->removed;
    bool stops = request->prune == SOURCE_PRUNE_STOP;
    if (removed->count > 0 && request->prune != SOURCE_PRUNE_NOTHING &&
        !request->values->is_dry_run) {
        static const struct change stop = {.sets_power = true, .power = POWER_STOPPED};
        static const struct change destroy = {.deletes = true};
        static const struct follow_values in_background = {.is_detached = true};
        cleanup_with(vm_request_clear) struct request ending = {
            .goal.kind = GOAL_SETTLED, .begun = stops ? "stopping" : "destroying"};
        vm_request_init(&ending, removed, stops ? &stop : &destroy);
        return vm_request_run(request->cli, &ending, &in_background, err);
    }
    for (size_t i = 0; i < removed->count; i++) {
        report_removed(request, removed->items[i], stops);
    }
    return 0;
}

/* ---- commit and follow ---- */

/* A VM that is being deleted can be created again once it is gone. */
static int await_deletions(const struct project_request *request, struct error *err)
{
    struct cli *cli = request->cli;
    size_t count = 0;
    cleanup_free struct follow_target *targets =
        mem_calloc(request->targets.count, sizeof(*targets));
    for (size_t i = 0; i < request->targets.count; i++) {
        const struct vm_desired *desired = request->records[i].desired;
        if (desired && desired->is_deleting) {
            struct follow_target *target = &targets[count++];
            target->name = request->targets.items[i];
            target->goal.kind = GOAL_DELETED;
            memcpy(target->uid, desired->uid, TEXT_ID_SIZE);
            cli_note(cli, "%s: is being deleted; waiting until it is gone", target->name);
        }
    }
    int rc = count > 0 ? cli_start_controller(cli, err) : 0;
    return rc < 0 || count == 0
               ? rc
               : follow(cli, targets, count, request->values->follow.timeout_ms, err);
}

/* Of all that this command erases at once. */
static int confirm_all(struct project_request *request, struct error *err)
{
    cleanup_with(strings_clear) struct strings victims = {.count = 0};
    for (size_t i = 0; i < request->request.count; i++) {
        if (request->request.changes[i].recreates) {
            strings_append(&victims, request->request.changes[i].name);
        }
    }
    size_t n_recreated = victims.count;
    for (size_t i = 0; request->prune == SOURCE_PRUNE_DESTROY && i < request->removed.count; i++) {
        strings_append(&victims, request->removed.items[i]);
    }
    bool is_sure = request->values->is_sure || request->values->is_dry_run;
    bool is_kept = victims.count == n_recreated && !request->values->erases_at_once;
    return victims.count > 0 ? confirm_erasure(request->cli, is_sure, is_kept, &victims, err) : 0;
}

/* How to get back what was on the disks that were recreated; also when what followed failed. */
static void note_kept(const struct project_request *request)
{
    struct cli *cli = request->cli;
    for (size_t i = 0; i < request->request.count; i++) {
        const struct change *change = &request->request.changes[i];
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        struct error ignored = {.code = ERR_NONE};
        bool is_read = change->recreates && !change->erases_at_once &&
                       store_get(cli->store, change->name, &record, &ignored) == 0;
        for (uint32_t k = 0; is_read && record.status && k < record.status->n_snapshots; k++) {
            const struct vm_snapshot *kept = &record.status->snapshots[k];
            if (record.desired && text_eq(kept->file, record.desired->recreate_token)) {
                cli_note(cli,
                    "%s: its old disk is kept for 24 hours; to restore it:\n"
                    "vmctl stop %s && vmctl snapshot restore %s %s && vmctl start %s",
                    change->name, change->name, change->name, kept->name, change->name);
            }
        }
    }
}

static int commit(struct project_request *request, struct error *err)
{
    const struct project_action *action = request->action;
    const struct follow_values *follow = &request->values->follow;
    int rc = action->prunes ? find_removed(request, err) : 0;
    if (rc == 0 && request->prune == SOURCE_PRUNE_DESTROY) {
        rc = keep_protected(request, err);
    }
    if (rc == 0) {
        rc = confirm_all(request, err);
    }
    if (rc == 0 && action->awaits_deletions && !follow->is_detached &&
        !request->values->is_dry_run) {
        rc = await_deletions(request, err);
    }
    rc = rc == 0 ? prune_removed(request, err) : rc;
    if (rc != 0) {
        return rc;
    }
    struct request *changes = &request->request;
    if (request->values->is_dry_run) {
        rc = change_plan(
            request->cli->store, changes->changes, changes->count, changes->outcomes, err);
        if (rc == 0) {
            vm_request_report(request->cli, changes);
        }
        return rc;
    }
    rc = vm_request_run(request->cli, changes, follow, err);
    note_kept(request);
    if (rc >= 0 && request->registration) {
        cli_note(request->cli, "watching '%s' (to stop: vmctl unwatch)", request->project.path);
    }
    return rc;
}

int project_request_run(struct cli *cli, const struct project_action *action,
    const struct project_values *values, const struct arg_strings *words, struct error *err)
{
    cleanup_with(project_request_clear) struct project_request request = {
        .cli = cli, .action = action, .values = values};
    int rc = prune_parse(values->prune, &request.prune, err);
    if (rc == 0) {
        rc = load(&request, words, err);
    }
    if (rc == 0) {
        rc = note_source(&request, err);
    }
    if (rc == 0) {
        rc = build_changes(&request, err);
    }
    if (rc == 0 && (request.targets.count > 0 || request.kept.count == 0)) {
        rc = commit(&request, err);
    }
    return protected_end(cli, &request.kept, rc, err);
}
