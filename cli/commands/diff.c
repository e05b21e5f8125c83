/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl diff: what `up` would change, field by field, and what each change needs. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/project.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/show/unified_diff.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/applied_files.h"
#include "specs/vm/spec_diff.h"
#include "specs/vmfile/vmfile.h"
#include "store/desired/change.h"
#include "store/desired/impact.h"
#include "store/desired/rename.h"

/* diff(1)'s: 0 nothing differs, 1 something does, 2 it could not be found out. */
enum { STATUS_SAME, STATUS_DIFFERENT, STATUS_TROUBLE };

struct diff_values {
    struct which_values which;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct diff_values, 'f'),
    OPTION_NAME(struct diff_values),
    OPTIONS_END,
};

/* The differences: text for users, rows for -o json and -o yaml. */
struct findings {
    struct buf text;
    json_t *rows;
    bool use_color;
};

static void findings_clear(struct findings *findings)
{
    buf_clear(&findings->text);
    json_decref(findings->rows);
}

/* A row is a change, and whose it is. */
static void diff_add_row(struct findings *findings, const char *vm, json_t *change_take)
{
    json_put_text(change_take, "vm", vm);
    (void)json_array_append_new(findings->rows, change_take);
}

/* The VM as a whole is created or pruned. */
static void add_whole(struct findings *findings, const struct vm_spec *spec, bool is_new)
{
    json_t *row = json_object();
    json_put(row, "field", json_null());
    json_put(row, "old", is_new ? json_null() : vm_spec_to_json(spec));
    json_put(row, "new", is_new ? vm_spec_to_json(spec) : json_null());
    json_put_text(row, "disposition", is_new ? "create" : "prune");
    diff_add_row(findings, spec->name, row);
    unified_diff_add_whole(&findings->text, spec, is_new, findings->use_color);
}

/* The text of each script and user-data that was edited, as far as what was applied is known. */
static void diff_add_files(struct cli *cli, struct findings *findings, const struct vm_spec *old,
    const struct vm_spec *new)
{
    cleanup_with(strings_clear) struct strings shown = {.count = 0};
    for (size_t i = 0; i < applied_files_count(new); i++) {
        const struct spec_file *file = applied_files_at(new, i), *before = NULL;
        for (size_t k = 0; file && k < applied_files_count(old) && !before; k++) {
            before = applied_files_at(old, k);
            before = before && text_eq(before->path, file->path) ? before : NULL;
        }
        cleanup_buf struct buf a = BUF_INIT(0), b = BUF_INIT(0);
        if (before && !text_eq(before->digest, file->digest) && !strings_have(&shown, file->path) &&
            applied_files_read(&cli->paths, old->name, NULL, before->digest, &a) &&
            applied_files_read(&cli->paths, new->name, file->path, file->digest, &b)) {
            cleanup_free char *was = mem_printf("%s (applied)", file->path);
            cleanup_free char *text_a = buf_steal(&a), *text_b = buf_steal(&b);
            unified_diff_add_texts(
                &findings->text, was, text_a, file->path, text_b, findings->use_color);
            strings_add(&shown, file->path);
        }
    }
}

static int diff_vm(
    struct cli *cli, struct findings *findings, struct vm_spec *spec, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = change_read_files(spec, err); /* an edited script is a difference */
    if (rc < 0 || (rc = store_get(cli->store, spec->name, &record, err)) < 0) {
        return rc;
    }
    if (record.desired && !record.desired->is_deleting) {
        spec->image.is_of_disk = record_has_image(&record, spec);
        cleanup_with(spec_diff_clear) struct spec_diff diff =
            record_diff(&record, record.desired->spec, spec, true);
        unified_diff_add(&findings->text, spec->name, &diff, findings->use_color);
        diff_add_files(cli, findings, record.desired->spec, spec);
        for (size_t i = 0; i < diff.count; i++) {
            diff_add_row(findings, spec->name, output_of_change(&diff.changes[i]));
        }
    } else {
        add_whole(findings, spec, true);
    }
    return 0;
}

static int diff_removed(
    struct cli *cli, struct findings *findings, const struct project *project, struct error *err)
{
    cleanup_with(strings_clear) struct strings stored = {.count = 0}, removed = {.count = 0};
    int rc = targets_of_source(cli, project->path, &stored, err);
    vm_names_keep(&stored, project->file->project);
    rc = rc == 0 ? rename_find_removed(cli->store, &stored, project->file, &removed, err) : rc;
    for (size_t i = 0; rc == 0 && i < removed.count; i++) {
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        rc = store_get(cli->store, removed.items[i], &record, err);
        if (rc == 0 && record.desired) {
            add_whole(findings, record.desired->spec, false);
        }
    }
    return rc;
}

/* A difference may come from a value that is not in the file. */
static void note_values(struct cli *cli, const struct vmfile *file)
{
    for (size_t i = 0; i < file->n_variables; i++) {
        enum vmfile_origin origin = file->variables[i].origin;
        if (origin == VMFILE_GIVEN || origin == VMFILE_FROM_ENV) {
            cleanup_free char *text = project_describe_variable(&file->variables[i]);
            cli_note(cli, "note: variable %s", text);
        }
    }
}

static int diff_project(struct cli *cli, struct findings *findings,
    const struct diff_values *values, const struct arg_strings *words, struct error *err)
{
    cleanup_with(project_clear) struct project project = {.path = NULL};
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    int rc = project_load(cli, &values->which.files, &project, err);
    if (rc != 0) {
        return rc;
    }
    rc = targets_of_project(&project, &values->which, words, &targets, err);
    if (rc < 0 || (rc = cli_open_store(cli, err)) < 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < project.file->n_vms; i++) {
        if (strings_have(&targets, project.file->vms[i]->name)) {
            rc = diff_vm(cli, findings, project.file->vms[i], err);
        }
    }
    if (rc == 0 && json_array_size(findings->rows) > 0) {
        note_values(cli, project.file);
    }
    bool is_part = values->which.names.count > 0 || words->count > 0;
    return rc < 0 || is_part ? rc : diff_removed(cli, findings, &project, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    cleanup_with(findings_clear) struct findings findings = {
        .text = BUF_INIT(0), .rows = json_array(), .use_color = cli->use_color_stdout};
    int rc = diff_project(cli, &findings, values, words, err);
    if (rc < 0 && error_exit_status(err->code) == STATUS_DIFFERENT) {
        cli_print_error(cli, err);
        return STATUS_TROUBLE;
    }
    if (rc != 0) {
        return rc;
    }
    if (output_is_data(cli)) {
        output_print(cli, findings.rows);
    } else {
        fputs(buf_str(&findings.text), stdout);
    }
    return json_array_size(findings.rows) > 0 ? STATUS_DIFFERENT : STATUS_SAME;
}

const struct command command_diff = {
    .name = "diff",
    .summary = "Show the differences between a VMFile and the stored settings",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Prints what `vmctl up` would change, as a unified diff in VMFile syntax: one hunk per\n"
        "field. After @@ it names what the change needs: live (nothing more), start (the VM is\n"
        "off), provision, restart, or recreate (replaces the disk). Below it is the diff of\n"
        "scripts and user-data that were edited, up to 256 KiB each. Exits with 0 if nothing\n"
        "differs, 1 if something differs, and more than 1 on errors. See also: vmctl up\n"
        "--dry-run.",
    .examples = "  vmctl diff\n"
                "  vmctl diff --name web -o json",
    .reach = REACH_FILE,
    .options = options,
    .values_size = sizeof(struct diff_values),
    .names_file_vms = true,
    .run = run,
};
