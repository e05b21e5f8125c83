/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl list: all VMs, from the summaries in the store; starts no controller. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/controller_process.h"
#include "cli/duration.h"
#include "cli/output.h"
#include "cli/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "store/store.h"

static void add_header(struct table *table, bool is_wide)
{
    static const char *const columns[] = {"NAME", "BACKEND", "VCPUS", "MEM", "NETWORK", "PID",
        "SSH", "STATE", "AGE", "RESTARTS"};
    enum { NARROW = 8 };
    size_t count = is_wide ? ARRAY_LEN(columns) : NARROW;
    table_init(table, count);
    for (size_t i = 0; i < count; i++) {
        table_add(table, columns[i]);
    }
}

static void add_number_or_dash(struct table *table, unsigned long long number)
{
    if (number > 0) {
        table_add_number(table, number);
    } else {
        table_add(table, "-");
    }
}

static void add_spec(struct table *table, const struct vm_summary *vm)
{
    if (!vm->has_desired || vm->is_damaged) {
        for (int i = 0; i < 4; i++) {
            table_add(table, "?");
        }
        return;
    }
    table_add(table, backend_kind_name(vm->desired.backend));
    table_add_number(table, vm->desired.vcpus);
    table_add_number(table, vm->desired.memory_mib);
    table_add(table, network_mode_name(vm->desired.network));
}

static const char *word_of(const struct vm_summary *vm)
{
    if (vm->is_damaged) {
        return "Damaged";
    }
    return vm->has_desired ? vm_display_word(&vm->desired, &vm->status) : "Orphaned";
}

static void add_vm(struct table *table, const struct vm_summary *vm, bool is_wide, int64_t now_ms)
{
    bool has_process = vm->status.pid > 0;
    table_add(table, vm->name);
    add_spec(table, vm);
    add_number_or_dash(table, has_process ? (unsigned long long)vm->status.pid : 0);
    add_number_or_dash(table, has_process ? vm->status.ssh_port : 0);
    table_add(table, word_of(vm));
    if (is_wide) {
        char age[DURATION_SIZE];
        duration_format(now_ms - vm->desired.created_ms, age);
        table_add(table, vm->has_desired && !vm->is_damaged ? age : "?");
        table_add_number(table, vm->status.restart_count);
    }
}

static void print_table(const struct cli *cli, const struct vm_summary_list *list)
{
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    bool is_wide = cli->output == OUTPUT_WIDE;
    add_header(&table, is_wide);
    for (size_t i = 0; i < list->count; i++) {
        add_vm(&table, &list->items[i], is_wide, clock_wall_ms(clock_system()));
    }
    table_print(&table, &out);
    fputs(buf_str(&out), stdout);
}

static int list_data(struct cli *cli, struct error *err)
{
    struct vm_list list = {.count = 0};
    int rc = store_list(cli->store, &list, err);
    if (rc < 0) {
        return rc;
    }
    cleanup_json json_t *array = json_array();
    for (size_t i = 0; i < list.count; i++) {
        (void)json_array_append_new(array, output_of_vm(&list.records[i]));
    }
    output_print(cli, array);
    vm_list_clear(&list);
    return 0;
}

static int run(
    struct cli *cli, const void *values, const struct arg_texts *words, struct error *err)
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
    if (output_is_data(cli)) {
        return list_data(cli, err);
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
        print_table(cli, &list);
        if (list.count > 0) {
            controller_note_absent(cli);
        }
    }
    vm_summary_list_clear(&list);
    return 0;
}

const struct command command_list = {
    .name = "list",
    .alias = "ps",
    .summary = "List all VMs",
    .usage = "[OPTIONS]",
    .details = "PID and SSH (the port on 127.0.0.1) are '-' while the VM does not run. -o wide\n"
               "adds age and restarts, -o name prints names only, -o json and -o yaml all that\n"
               "is known. When no controller runs, what is shown is what the last one saw, and list\n"
               "says so.",
    .examples = "  vmctl list\n"
                "  vmctl list -o json",
    .run = run,
};
