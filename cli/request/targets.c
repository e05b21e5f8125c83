/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/request/targets.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "cli/request/scope.h"
#include "cli/show/result.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/selector.h"
#include "store/store.h"

static int help_with_names(const struct strings *known, struct error *err)
{
    enum { SHOWN = 8 };
    cleanup_buf struct buf names = BUF_INIT(0);
    for (size_t i = 0; i < known->count && i < SHOWN; i++) {
        buf_printf(&names, "%s%s", i ? ", " : "", known->items[i]);
    }
    return error_help(err, "it has: %s%s", buf_str(&names), known->count > SHOWN ? ", …" : "");
}

/* The VM of a project that is called so there; NULL: none, or several. */
static const char *namesake(const struct strings *known, const char *name)
{
    const char *found = NULL;
    for (size_t i = 0; i < known->count; i++) {
        if (strcmp(vm_name_plain(known->items[i]), name) == 0) {
            if (found) {
                return NULL;
            }
            found = known->items[i];
        }
    }
    return found;
}

static int choose_each(const struct strings *known, const struct arg_strings *strings,
    const char *where, struct strings *ret, struct error *err)
{
    for (size_t i = 0; i < strings->count; i++) {
        if (!strings_have(known, strings->items[i])) {
            const char *name = strings->items[i];
            const char *same = namesake(known, name);
            const char *nearest =
                same ? same : text_nearest(name, (const char *const *)known->items, known->count);
            (void)error_set(err, ERR_VM_NOT_FOUND, "there is no vm '%s'%s%s", name,
                where ? " in " : "", where ? where : "");
            if (strchr(name, '/') && strings_have(known, vm_name_plain(name))) {
                return error_help(
                    err, "'%s' belongs to no project: --project ''", vm_name_plain(name));
            }
            if (nearest) {
                return error_help(err, "did you mean '%s'?", nearest);
            }
            return where ? help_with_names(known, err) : -ERR_VM_NOT_FOUND;
        }
        strings_add(ret, strings->items[i]);
    }
    return 0;
}

/* ---- by labels ---- */

static int check_selector(
    const struct which_values *which, const struct arg_strings *words, struct error *err)
{
    bool is_both = which->selector && words->count + which->names.count > 0;
    return is_both ? error_set(err, ERR_USAGE, "--selector and names of VMs exclude each other")
                   : 0;
}

int targets_selector(const struct which_values *which, const struct arg_strings *words,
    struct selector *ret, struct error *err)
{
    int rc = check_selector(which, words, err);
    return rc < 0 || !which->selector ? rc : selector_parse(which->selector, ret, err);
}

static int check_any(
    const struct which_values *which, const struct strings *targets, struct error *err)
{
    if (!which->selector || targets->count > 0) {
        return 0;
    }
    (void)error_set(err, ERR_VM_NOT_FOUND, "no vm has the labels '%s'", which->selector);
    return error_help(err, "see the labels of all: vmctl list --show-labels");
}

int targets_narrow(
    struct cli *cli, const struct which_values *which, struct strings *targets, struct error *err)
{
    cleanup_with(selector_clear) struct selector selector = {.count = 0};
    cleanup_with(strings_clear) struct strings kept = {.count = 0};
    int rc = which->selector ? selector_parse(which->selector, &selector, err) : 0;
    if (rc < 0 || selector.count == 0 || (rc = cli_open_store(cli, err)) < 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < targets->count; i++) {
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        rc = store_get(cli->store, targets->items[i], &record, err);
        if (rc == 0 && record.desired && selector_matches(&selector, record.desired->spec)) {
            strings_append(&kept, targets->items[i]);
        }
    }
    strings_clear(targets);
    *targets = kept;
    kept = (struct strings){.count = 0};
    return rc < 0 ? rc : check_any(which, targets, err);
}

/* ---- by name ---- */

int targets_choose(const struct strings *known, const struct which_values *which,
    const struct arg_strings *words, const char *where, struct strings *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings chosen = {.count = 0};
    if (which->is_all && words->count + which->names.count > 0) {
        return error_set(err, ERR_USAGE, "--all and names of VMs exclude each other");
    }
    int rc = check_selector(which, words, err);
    rc = rc < 0 ? rc : choose_each(known, words, where, &chosen, err);
    if (rc < 0 || (rc = choose_each(known, &which->names, where, &chosen, err)) < 0) {
        return rc;
    }
    if (words->count + which->names.count == 0) {
        for (size_t i = 0; i < known->count; i++) {
            if (!vm_spec_name_is_of_template(
                    known->items[i])) { /* they come and go by themselves */
                strings_append(&chosen, known->items[i]);
            }
        }
    }
    *ret = chosen;
    chosen = (struct strings){.count = 0};
    return 0;
}

int targets_of_store(struct cli *cli, struct strings *ret, struct error *err)
{
    struct vm_summary_list list = {.count = 0};
    int rc = cli_open_store(cli, err);
    if (rc < 0 || (rc = store_list_summaries(cli->store, &list, err)) < 0) {
        return rc;
    }
    for (size_t i = 0; i < list.count; i++) {
        strings_append(ret, list.items[i].name);
    }
    vm_summary_list_clear(&list);
    return 0;
}

int targets_in_scope(struct cli *cli, struct strings *ret, struct error *err)
{
    int rc = targets_of_store(cli, ret, err);
    if (rc == 0 && cli->has_given_scope && cli->scope) {
        vm_names_keep(ret, cli->scope);
    }
    return rc;
}

int targets_of_source(struct cli *cli, const char *path, struct strings *ret, struct error *err)
{
    int rc = cli_open_store(cli, err);
    return rc < 0 ? rc : store_list_source(cli->store, path, ret, err);
}

/* A word of a VMFile that was not known before it was read, as standard input is not. */
static void name_in_project(const char *project, const struct arg_strings *words,
    struct strings *memory, struct arg_strings *ret)
{
    for (size_t i = 0; i < words->count; i++) {
        cleanup_free char *name = vm_name_in(project, words->items[i]);
        strings_append(memory, name);
        arg_strings_add(ret, memory->items[memory->count - 1]);
    }
}

int targets_of_project(const struct project *project, const struct which_values *which,
    const struct arg_strings *words, struct strings *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings known = {.count = 0};
    cleanup_with(selector_clear) struct selector selector = {.count = 0};
    cleanup_free char *where = mem_printf("'%s'", project->path);
    int rc = targets_selector(which, words, &selector, err);
    for (size_t i = 0; rc == 0 && i < project->file->n_vms; i++) {
        if (selector_matches(&selector, project->file->vms[i])) {
            strings_append(&known, project->file->vms[i]->name); /* each has its own */
        }
    }
    rc = rc < 0 ? rc : check_any(which, &known, err);
    cleanup_with(strings_clear) struct strings memory = {.count = 0};
    cleanup_with(arg_strings_clear) struct arg_strings named = {.count = 0}, names = {.count = 0};
    name_in_project(project->file->project, words, &memory, &named);
    name_in_project(project->file->project, &which->names, &memory, &names);
    struct which_values in_project = *which;
    in_project.names = names;
    return rc < 0 ? rc : targets_choose(&known, &in_project, &named, where, ret, err);
}

void targets_add_dependencies(const struct project *project, struct strings *targets)
{
    for (size_t i = 0; i < targets->count; i++) { /* it grows meanwhile: theirs, too */
        const struct vm_spec *spec = project_find_vm(project, targets->items[i], i);
        for (size_t at = 0; at < spec->n_depends_on; at++) {
            strings_add(targets, spec->depends_on[at]);
        }
    }
}

static int refuse_several(const struct strings *targets, struct error *err)
{
    cleanup_buf struct buf names = BUF_INIT(0);
    for (size_t i = 0; i < targets->count; i++) {
        buf_printf(&names, "%s%s", i ? ", " : "", targets->items[i]);
    }
    (void)error_set(err, ERR_USAGE, "this command is for one VM, not several: %s", buf_str(&names));
    return error_help(err, "give its name, such as: %s", targets->items[0]);
}

int targets_load_or_recall(struct cli *cli, const struct arg_strings *files, struct project *ret,
    struct strings *ret_recalled, struct error *err)
{
    cleanup_free char *path = NULL;
    int rc = project_path(cli, files, &path, err);
    if (rc < 0 || (rc = targets_of_source(cli, path, ret_recalled, err)) < 0) {
        return rc;
    }
    rc = project_load(cli, files, ret, err);
    if (rc == 0 || ret_recalled->count == 0) {
        vm_names_keep(ret_recalled, ret->file ? ret->file->project : NULL);
        return rc;
    }
    struct error cause = *err;
    const char *project = NULL;
    error_clear(err);
    if (scope_find(cli, files, &project, err) < 0) {
        return -(int)err->code;
    }
    vm_names_keep(ret_recalled, project);
    if (ret_recalled->count == 0) {
        *err = cause;
        return rc;
    }
    result_forget_error(cli);
    cli_note(cli, "note: using the %zu VM%s that came from '%s'", ret_recalled->count,
        ret_recalled->count == 1 ? "" : "s", path);
    return 0;
}

/* The VMFile's VMs that exist; what was never brought up is not meant. But where one is wanted, the
 * same words must not come to mean another VM, or none, when a second one is brought up. */
static int find_by_project(struct cli *cli, const struct arg_strings *files,
    const struct strings *known, bool is_for_one, struct strings *ret, struct error *err)
{
    cleanup_with(project_clear) struct project project = {.path = NULL};
    cleanup_with(strings_clear) struct strings recalled = {.count = 0};
    int rc = targets_load_or_recall(cli, files, &project, &recalled, err);
    if (rc != 0) {
        return rc;
    }
    size_t n = project.file ? project.file->n_vms : recalled.count;
    for (size_t i = 0; i < n; i++) {
        const char *name = project.file ? project.file->vms[i]->name : recalled.items[i];
        if (is_for_one || strings_have(known, name)) {
            strings_add(ret, name);
        }
    }
    if (is_for_one && ret->count > 1) {
        return refuse_several(ret, err);
    }
    if (ret->count == 0 || !strings_have(known, ret->items[0])) {
        (void)error_set(err, ERR_VM_NOT_FOUND, "no vm of '%s' exists yet", project.path);
        return error_help(err, "bring them up first: vmctl up");
    }
    return 0;
}

static int add_existing(struct cli *cli, const struct arg_strings *names, struct strings *ret,
    bool *ret_is_missing, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < names->count; i++) {
        bool is_there = false;
        rc = store_has(cli->store, names->items[i], &is_there, err);
        *ret_is_missing |= !is_there;
        strings_add(ret, names->items[i]);
    }
    return rc;
}

/* A name that the VMFile has is no slip of the keyboard. */
static int help_to_bring_up(
    struct cli *cli, const struct strings *known, const struct strings *named, struct error *err)
{
    struct error ignored = {.code = ERR_NONE};
    cleanup_with(vmfile_load_clear) struct vmfile_load load = {.path = NULL};
    cleanup_free char *path = NULL;
    const struct vmfile_inputs inputs = {
        .given = &cli->given, .uses_environment = true, .fleet_nodes = &cli->fleet_nodes};
    bool is_valid = project_path(cli, NULL, &path, &ignored) == 0 &&
                    vmfile_load(path, path, &inputs, &load, &ignored) == 0 &&
                    load.file->n_diagnostics == 0;
    const struct project project = {.file = load.file};
    for (size_t i = 0; is_valid && i < named->count; i++) {
        const char *name = named->items[i], *place = project_place(&project, name);
        if (place && !strings_have(known, name)) {
            return error_help(
                err, "'%s' places it on node '%s': vmctl --node %s …", path, place, place);
        }
        if (!strings_have(known, name) && project_find_vm(&project, name, 0)) {
            return error_help(
                err, "'%s' defines it, but it does not exist yet: vmctl up %s", path, name);
        }
    }
    return -(int)err->code;
}

int targets_find_named(struct cli *cli, const struct which_values *which,
    const struct arg_strings *words, struct strings *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings named = {.count = 0};
    bool is_missing = which->is_all; /* --all with names is refused where all are known */
    int rc = check_selector(which, words, err);
    if (rc < 0 || (rc = cli_open_store(cli, err)) < 0 ||
        (rc = add_existing(cli, words, &named, &is_missing, err)) < 0 ||
        (rc = add_existing(cli, &which->names, &named, &is_missing, err)) < 0) {
        return rc;
    }
    if (is_missing) {
        cleanup_with(strings_clear) struct strings known = {.count = 0};
        rc = targets_of_store(cli, &known, err);
        rc = rc < 0 ? rc : targets_choose(&known, which, words, NULL, ret, err);
        return rc == -ERR_VM_NOT_FOUND ? help_to_bring_up(cli, &known, &named, err) : rc;
    }
    *ret = named;
    named = (struct strings){.count = 0};
    return 0;
}

/* Nobody has read it yet, so names are still without its project, if it has one. */
static int find_named_by_stdin(struct cli *cli, const struct which_values *which,
    const struct arg_strings *words, struct strings *ret, struct error *err)
{
    cleanup_with(project_clear) struct project project = {.path = NULL};
    cleanup_with(strings_clear) struct strings memory = {.count = 0};
    cleanup_with(arg_strings_clear) struct arg_strings named = {.count = 0}, names = {.count = 0};
    int rc = project_load_whole(cli, &which->files, &project, err);
    if (rc != 0) {
        return rc;
    }
    name_in_project(project.file->project, words, &memory, &named);
    name_in_project(project.file->project, &which->names, &memory, &names);
    struct which_values in_project = *which;
    in_project.names = names;
    return targets_find_named(cli, &in_project, &named, ret, err);
}

/* Where no VMFile is found: all, for a choice by labels and with `or_all`. */
static int find(struct cli *cli, const struct which_values *which, const struct arg_strings *words,
    bool is_for_one, bool or_all, struct strings *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings known = {.count = 0};
    if (words->count + which->names.count > 0) {
        bool is_by_stdin =
            which->files.count > 0 && project_is_stdin(&which->files) && !cli->has_given_scope;
        return is_by_stdin ? find_named_by_stdin(cli, which, words, ret, err)
                           : targets_find_named(cli, which, words, ret, err);
    }
    int rc = targets_in_scope(cli, &known, err);
    if (rc < 0) {
        return rc;
    }
    rc = which->is_all ? 0 : find_by_project(cli, &which->files, &known, is_for_one, ret, err);
    if ((or_all || which->selector) && rc == -ERR_VMFILE_NOT_FOUND && which->files.count == 0) {
        error_clear(err);
        rc = 0;
    }
    if (rc == 0 && ret->count == 0) {
        rc = targets_choose(&known, which, words, NULL, ret, err);
    }
    return rc == 0 ? targets_narrow(cli, which, ret, err) : rc;
}

int targets_find(struct cli *cli, const struct which_values *which, const struct arg_strings *words,
    struct strings *ret, struct error *err)
{
    return find(cli, which, words, false, false, ret, err);
}

int targets_find_or_all(struct cli *cli, const struct which_values *which,
    const struct arg_strings *words, struct strings *ret, struct error *err)
{
    return find(cli, which, words, false, true, ret, err);
}

int targets_find_one(struct cli *cli, const struct which_values *which, const char *word,
    char **ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    cleanup_with(arg_strings_clear) struct arg_strings words = {.count = 0};
    if (word) {
        arg_strings_add(&words, word);
    }
    int rc = find(cli, which, &words, true, false, &targets, err);
    if (rc != 0) {
        return rc;
    }
    if (targets.count > 1) {
        return refuse_several(&targets, err);
    }
    *ret = mem_strdup(targets.items[0]);
    return 0;
}
