/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl list: all VMs, from the summaries in the store; starts no controller. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/show/vm_rows.h"
#include "cli/wait/controller_process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "store/store.h"

static void print_summaries(const struct vm_summary_list *list)
{
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    vm_rows_begin(&table, false);
    for (size_t i = 0; i < list->count; i++) {
        const struct vm_summary *vm = &list->items[i];
        struct vm_row row = {
            .name = vm->name,
            .has_desired = vm->has_desired,
            .is_damaged = vm->is_damaged,
            .desired = vm->desired,
            .status = vm->status,
        };
        vm_rows_add(&table, &row, false, clock_wall_ms(clock_system()));
    }
    table_print(&table, &out);
    fputs(buf_str(&out), stdout);
}

/* Whole records: the output needs more than the summaries hold. */
static int list_records(struct cli *cli, struct error *err)
{
    struct vm_list list = {.count = 0};
    int rc = store_list(cli->store, &list, err);
    if (rc < 0) {
        return rc;
    }
    if (output_is_data(cli)) {
        vm_rows_print_data(cli, &list, false);
    } else {
        vm_rows_print_records(cli, &list);
        if (list.count > 0) {
            controller_note_absent(cli);
        }
    }
    vm_list_clear(&list);
    return 0;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    struct vm_summary_list list = {.count = 0};
    (void)values;
    if (words->count > 0) {
        (void)error_set(err, ERR_USAGE, "list takes no names");
        return error_help(err, "see one VM: vmctl status %s", words->items[0]);
    }
    int rc = cli_open_store(cli, err);
    if (rc < 0) {
        return rc;
    }
    if (output_is_data(cli) || cli->output == OUTPUT_WIDE) {
        return list_records(cli, err);
    }
    rc = store_list_summaries(cli->store, &list, err);
    if (rc < 0) {
        return rc;
    }
    if (cli->output == OUTPUT_NAME) {
        for (size_t i = 0; i < list.count; i++) {
            puts(list.items[i].name);
        }
    } else {
        print_summaries(&list);
        if (list.count > 0) {
            controller_note_absent(cli);
        }
    }
    vm_summary_list_clear(&list);
    return 0;
}

const struct command command_list = {
    .name = "list",
    .aliases = "ps ls",
    .summary = "List all VMs",
    .usage = "[OPTIONS]",
    .details =
        "PID and SSH (the port on 127.0.0.1, else the guest's ADDRESS:PORT) are '-' while\n"
        "the VM does not run; 1->3 is a change that a running VM has not got yet. -o wide\n"
        "adds age, restarts and the VNC address, -o name prints names only, -o json and\n"
        "-o yaml all that is known. When no controller runs, what is shown is what the last\n"
        "one saw, with a note.",
    .examples = "  vmctl list\n"
                "  vmctl list -o json",
    .run = run,
};
