/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl get: VMs as objects or rows, once or as they change; starts no controller. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/commands/vm_watch.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/show/vm_rows.h"
#include "cli/wait/controller_process.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "store/store.h"

struct get_values {
    struct which_values which;
    bool watches;
};

static const struct arg_option options[] = {
    {"watch", 'w', ARG_FLAG, offsetof(struct get_values, watches), NULL,
        "go on, and print each VM again when it changes"},
    OPTION_NAME(struct get_values),
    OPTION_ALL(struct get_values),
    OPTIONS_END,
};

/* From one snapshot: who is there, and what is known of them. */
static int find(const struct get_values *values, const struct arg_strings *words,
    const struct vm_list *list, struct targets *ret, struct error *err)
{
    cleanup_with(targets_clear) struct targets known = {.count = 0};
    for (size_t i = 0; i < list->count; i++) {
        targets_add(&known, list->records[i].name);
    }
    return targets_choose(&known, &values->which, words, NULL, ret, err);
}

/* One name, one object; else a list, also of none. */
static void print_data(const struct cli *cli, const struct vm_list *list,
    const struct targets *targets, bool is_one)
{
    cleanup_json json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++) {
        if (targets_have(targets, list->records[i].name)) {
            (void)json_array_append_new(array, output_of_vm(&list->records[i]));
        }
    }
    output_print(cli, is_one ? json_array_get(array, 0) : array);
}

static void print_rows(
    const struct cli *cli, const struct vm_list *list, const struct targets *targets)
{
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    bool is_wide = cli->output == OUTPUT_WIDE;
    vm_rows_begin(&table, is_wide);
    for (size_t i = 0; i < list->count; i++) {
        struct vm_row row = vm_row_of_record(&list->records[i]);
        if (targets_have(targets, row.name)) {
            vm_rows_add(&table, &row, is_wide, clock_wall_ms(clock_system()));
        }
    }
    table_print(&table, &out);
    fputs(buf_str(&out), stdout);
}

static void print(const struct cli *cli, const struct vm_list *list, const struct targets *targets,
    bool is_one)
{
    if (output_is_data(cli)) {
        print_data(cli, list, targets, is_one);
    } else if (cli->output == OUTPUT_NAME) {
        for (size_t i = 0; i < targets->count; i++) {
            puts(targets->names[i]);
        }
    } else {
        print_rows(cli, list, targets);
        if (targets->count > 0) {
            controller_note_absent(cli);
        }
    }
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct get_values *get = values;
    struct vm_list list = {.count = 0};
    cleanup_with(targets_clear) struct targets targets = {.count = 0};
    int rc = cli_open_store(cli, err);
    if (rc < 0 || (rc = store_list(cli->store, &list, err)) < 0) {
        return rc;
    }
    rc = find(get, words, &list, &targets, err);
    size_t n_names = words->count + get->which.names.count;
    if (rc == 0 && !get->watches) {
        print(cli, &list, &targets, n_names == 1);
    }
    vm_list_clear(&list);
    return rc < 0 || !get->watches ? rc : vm_watch(cli, n_names > 0 ? &targets : NULL, err);
}

const struct command command_get = {
    .name = "get",
    .summary = "Get VMs as rows or objects, also as they change",
    .usage = "[OPTIONS] [VM...]",
    .details = "Without a name: all VMs. A row a VM, as `list` prints it (-o wide: with age,\n"
               "restarts and VNC address); -o json and -o yaml give all that is known, one object\n"
               "for one name, else a list; -o name gives the names. --watch goes on until Ctrl-C:\n"
               "a row for each change, with -o json an object a line, and a last one with the\n"
               "state Deleted when a VM is gone.",
    .examples = "  vmctl get web -o json\n"
                "  vmctl get -w                      watch all VMs\n"
                "  vmctl get web -w -o json | jq -r --unbuffered .display",
    .options = options,
    .values_size = sizeof(struct get_values),
    .run = run,
};
