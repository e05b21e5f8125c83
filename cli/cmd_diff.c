/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl diff: what `up` would change, field by field, and what each change needs. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/project.h"
#include "cli/targets.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/json.h"
#include "specs/base/text.h"
#include "specs/spec_diff.h"
#include "specs/vmfile.h"
#include "store/wish.h"

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

/* A difference, as text (-o text) or in the array (-o json, yaml). */
static void tell(const struct cli *cli, json_t *all, const char *vm, const char *field,
    const char *before, const char *after, const char *needs)
{
    json_t *json = json_object();
    json_put_text(json, "vm", vm);
    json_put_text(json, "field", field);
    json_put_text(json, "before", before);
    json_put_text(json, "after", after);
    json_put_text(json, "needs", needs);
    (void)json_array_append_new(all, json);
    if (output_is_data(cli)) {
        return;
    }
    cleanup_buf struct buf line = BUF_INIT(0);
    if (field) {
        buf_printf(&line, "%s: %s %s -> %s", vm, field, before, after);
    } else {
        buf_printf(&line, "%s: %s", vm, after ? "is not there yet" : "is no longer in the VMFile");
    }
    cleanup_buf struct buf shown = BUF_INIT(0);
    text_add_printable(&shown, buf_str(&line), line.len);
    printf("%s (%s)\n", buf_str(&shown), needs);
}

static int diff_vm(struct cli *cli, json_t *all, struct vm_spec *spec, struct error *err)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = wish_read_files(spec, err); /* an edited script is a difference */
    if (rc < 0 || (rc = store_get(cli->store, spec->name, &record, err)) < 0) {
        return rc;
    }
    if (!record.desired || record.desired->is_deleting) {
        tell(cli, all, spec->name, NULL, NULL, "created", "vmctl up creates it");
        return 0;
    }
    cleanup_with(spec_diff_clear) struct spec_diff diff = spec_diff(record.desired->spec, spec);
    for (size_t i = 0; i < diff.count; i++) {
        const struct spec_change *change = &diff.changes[i];
        tell(cli, all, spec->name, change->field, change->before, change->after,
            disposition_name(change->disposition));
    }
    return 0;
}

static int diff_removed(
    struct cli *cli, json_t *all, const struct project *project, struct error *err)
{
    cleanup_with(targets_clear) struct targets stored = {.count = 0};
    int rc = targets_of_source(cli, project->path, &stored, err);
    for (size_t i = 0; rc == 0 && i < stored.count; i++) {
        if (!project_find_vm(project, stored.names[i])) {
            tell(cli, all, stored.names[i], NULL, "there", NULL,
                "it keeps running; vmctl up --prune removes it");
        }
    }
    return rc;
}

static bool is_asked_for(const struct which_values *which, const struct arg_texts *words)
{
    return which->names.count > 0 || words->count > 0;
}

static int diff_project(struct cli *cli, json_t *all, const struct diff_values *values,
    const struct arg_texts *words, struct error *err)
{
    cleanup_with(project_clear) struct project project = {.path = NULL};
    cleanup_with(targets_clear) struct targets targets = {.count = 0};
    int rc = project_load(cli, values->which.file, &project, err);
    if (rc != 0) {
        return rc;
    }
    rc = targets_of_project(&project, &values->which, words, &targets, err);
    if (rc < 0 || (rc = cli_open_store(cli, err)) < 0) {
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < project.file->n_vms; i++) {
        if (targets_have(&targets, project.file->vms[i]->name)) {
            rc = diff_vm(cli, all, project.file->vms[i], err);
        }
    }
    return rc < 0 || is_asked_for(&values->which, words) ? rc
                                                         : diff_removed(cli, all, &project, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_texts *words, struct error *err)
{
    cleanup_json json_t *all = json_array();
    int rc = diff_project(cli, all, values, words, err);
    if (rc < 0 && error_exit_status(err->code) == STATUS_DIFFERENT) {
        cli_print_error(cli, err);
        return STATUS_TROUBLE;
    }
    if (rc != 0) {
        return rc;
    }
    if (output_is_data(cli)) {
        output_print(cli, all);
    }
    return json_array_size(all) > 0 ? STATUS_DIFFERENT : STATUS_SAME;
}

const struct command command_diff = {
    .name = "diff",
    .summary = "Show what differs between a VMFile and what is asked for",
    .usage = "[OPTIONS] [VM...]",
    .details = "Prints a line for each field that `vmctl up` would change, and what the change needs:\n"
               "live (nothing more), provision, restart or recreate (erases the disk). Ends with 0\n"
               "when nothing differs, 1 when something does, and more than 1 on errors.",
    .examples = "  vmctl diff\n"
                "  vmctl diff --name web -o json",
    .options = options,
    .values_size = sizeof(struct diff_values),
    .run = run,
};
