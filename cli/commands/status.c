/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl status: all that is known of a VM. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/show/vm_rows.h"
#include "cli/show/vm_text.h"
#include "cli/wait/controller_process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

struct status_values {
    struct which_values which;
};

static const struct arg_option options[] = {
    OPTION_FILE(struct status_values, 'f'),
    OPTION_NAME(struct status_values),
    OPTION_ALL(struct status_values),
    OPTIONS_END,
};

static void add_path(
    struct buf *out, const char *label, const struct cli *cli, const char *name, enum vm_file file)
{
    cleanup_free char *path = paths_vm(&cli->paths, name, file);
    vm_text_field(out, label, "%s", fs_exists(path) ? path : "-");
}

static int add_text(
    struct cli *cli, const struct vm_record *record, struct buf *out, struct error *err)
{
    vm_text_add_head(out, record, cli->use_color_stdout);
    vm_text_add_desired(out, record);
    add_path(out, "Work dir:", cli, record->name, VM_DIR);
    add_path(out, "Overlay:", cli, record->name, VM_OVERLAY);
    add_path(out, "Seed ISO:", cli, record->name, VM_SEED);
    if (record->status) {
        vm_text_add_instance(out, record->status);
    }
    vm_text_add_generation(out, record);
    if (record->status) {
        vm_text_add_conditions(out, record->status);
    }
    int rc = vm_text_add_events(cli, record->name, out, err);
    if (record->status) {
        vm_text_add_blocker(out, &record->status->blocker); /* last: what is seen first */
    }
    vm_text_add_next(out, record);
    return rc;
}

/* A row a VM, and what to type where there is trouble. */
static int show_many(struct cli *cli, const struct strings *targets, struct error *err)
{
    cleanup_with(vm_list_clear) struct vm_list list = {
        .records = mem_calloc(targets->count, sizeof(*list.records))};
    cleanup_buf struct buf out = BUF_INIT(0);
    for (; list.count < targets->count; list.count++) {
        struct vm_record *record = &list.records[list.count];
        int rc = store_get(cli->store, targets->items[list.count], record, err);
        if (rc < 0) {
            return rc;
        }
        const char *help = record->status ? record->status->blocker.help : NULL;
        if (help && help[0]) {
            help += text_starts_with(help, "see: ") ? strlen("see: ") : 0;
            buf_printf(&out, "%s: next: ", record->name);
            text_add_printable(&out, help, strcspn(help, "\n"));
            buf_add_char(&out, '\n');
        }
    }
    vm_rows_print_records(cli, &list);
    table_print_folded(buf_str(&out));
    return 0;
}

static int show(struct cli *cli, const struct strings *targets, struct error *err)
{
    cleanup_json json_t *array = json_array();
    bool are_many =
        targets->count > 1 && (cli->output == OUTPUT_TEXT || cli->output == OUTPUT_WIDE);
    if (are_many) {
        int rc = show_many(cli, targets, err);
        controller_note_absent(cli);
        return rc;
    }
    for (size_t i = 0; i < targets->count; i++) {
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        cleanup_buf struct buf out = BUF_INIT(0);
        int rc = store_get(cli->store, targets->items[i], &record, err);
        if (rc < 0) {
            return rc;
        }
        if (output_is_data(cli)) {
            (void)json_array_append_new(array, output_of_vm(&record));
        } else if (cli->output == OUTPUT_NAME) {
            puts(targets->items[i]);
        } else {
            rc = add_text(cli, &record, &out, err);
            table_print_folded(buf_str(&out));
        }
        if (rc < 0) {
            return rc;
        }
    }
    if (output_is_data(cli)) {
        output_print(cli, targets->count == 1 ? json_array_get(array, 0) : array);
    }
    controller_note_absent(cli);
    return 0;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct status_values *status = values;
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    int rc = targets_find_or_all(cli, &status->which, words, &targets, err);
    return rc != 0 ? rc : show(cli, &targets, err);
}

const struct command command_status = {
    .name = "status",
    .summary = "Show the state of VMs and the next command to type",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "For one VM: its settings, conditions, last events, and the next command to type. For\n"
        "several: one row each, as in `list`, and the next command for VMs with problems. For all\n"
        "details: vmctl describe. Without a name: the VMs of the VMFile, or all VMs if there is\n"
        "no VMFile.",
    .examples = "  vmctl status web\n"
                "  vmctl status web -o yaml",
    .reach = REACH_SEVERAL,
    .options = options,
    .values_size = sizeof(struct status_values),
    .run = run,
};
