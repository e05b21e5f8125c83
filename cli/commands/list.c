/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl list: all VMs, from the summaries in the store; starts no controller. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/show/vm_rows.h"
#include "cli/wait/controller_process.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "store/store.h"

struct list_values {
    struct which_values which;
    bool only_failed;
};

static const struct arg_option options[] = {
    {"failed", 0, ARG_FLAG, offsetof(struct list_values, only_failed), NULL,
        "only VMs that have failed"},
    {"all", 'a', ARG_FLAG, offsetof(struct list_values, which.is_all), NULL,
        "all VMs, also those that are off, which is what is listed anyway"},
    OPTION_NAME(struct list_values),
    OPTIONS_END,
};

/* The VMs that are listed: *ret is as long as the source, true for each of them. */
static int choose(const struct vm_row_source *source, const struct list_values *values,
    const struct arg_strings *words, bool *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings known = {.count = 0}, targets = {.count = 0};
    bool has_names = words->count + values->which.names.count > 0;
    for (size_t i = 0; has_names && i < source->count; i++) {
        strings_append(&known, source->at(source->list, i).name);
    }
    int rc = has_names ? targets_choose(&known, &values->which, words, NULL, &targets, err) : 0;
    for (size_t i = 0; i < source->count; i++) {
        struct vm_row row = source->at(source->list, i);
        bool is_meant =
            has_names ? strings_have(&targets, row.name) : !vm_spec_name_is_of_template(row.name);
        ret[i] = is_meant && (!values->only_failed || vm_row_has_failed(&row));
    }
    return rc;
}

static void print_text(struct cli *cli, const struct vm_row_source *source)
{
    for (size_t i = 0; cli->output == OUTPUT_NAME && i < source->count; i++) {
        if (source->chosen[i]) {
            puts(source->at(source->list, i).name);
        }
    }
    if (cli->output == OUTPUT_NAME) {
        return;
    }
    vm_rows_print(cli, source);
    if (source->count == 0) {
        cli_note(cli, "no VMs yet: vmctl init writes a VMFile.kdl, vmctl up makes its VMs, and "
                      "vmctl create a single one");
    } else {
        controller_note_absent(cli);
    }
}

/* Whole records: the output needs more than the summaries hold. */
static int list_records(struct cli *cli, const struct list_values *values,
    const struct arg_strings *words, struct error *err)
{
    struct vm_list list = {.count = 0};
    int rc = store_list(cli->store, &list, err);
    cleanup_free bool *chosen = mem_calloc(list.count + 1, sizeof(*chosen));
    const struct vm_row_source source = {&list, list.count, vm_rows_at_record, chosen};
    if (rc == 0 && (rc = choose(&source, values, words, chosen, err)) == 0) {
        if (output_is_data(cli)) {
            vm_rows_print_data(cli, &list, chosen, false);
        } else {
            print_text(cli, &source);
        }
    }
    vm_list_clear(&list);
    return rc;
}

static struct vm_row at_summary(const void *list, size_t i)
{
    const struct vm_summary *vm = &((const struct vm_summary_list *)list)->items[i];
    return (struct vm_row){
        .name = vm->name,
        .has_desired = vm->has_desired,
        .is_damaged = vm->is_damaged,
        .desired = vm->desired,
        .status = vm->status,
    };
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    struct vm_summary_list list = {.count = 0};
    int rc = cli_open_store(cli, err);
    if (rc < 0 || output_is_data(cli) || cli->output == OUTPUT_WIDE) {
        return rc < 0 ? rc : list_records(cli, values, words, err);
    }
    rc = store_list_summaries(cli->store, &list, err);
    cleanup_free bool *chosen = mem_calloc(list.count + 1, sizeof(*chosen));
    const struct vm_row_source source = {&list, list.count, at_summary, chosen};
    if (rc == 0 && (rc = choose(&source, values, words, chosen, err)) == 0) {
        print_text(cli, &source);
    }
    vm_summary_list_clear(&list);
    return rc;
}

const struct command command_list = {
    .name = "list",
    .aliases = "ps ls",
    .summary = "List all VMs",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "PID and SSH (the port on 127.0.0.1, else the guest's ADDRESS:PORT) are '-' while\n"
        "the VM does not run; 1->3 is a change that a running VM has not got yet. CAUSE is the\n"
        "cause of a failure, where there is one; on a terminal it is cut, or below its row,\n"
        "where it does not fit: vmctl status has it in full. -o wide adds restarts and the VNC\n"
        "address, -o name prints names only, -o json and -o yaml all that is known. When no\n"
        "controller runs, what is shown is what the last one saw, with a note.",
    .examples = "  vmctl list\n"
                "  vmctl list web db\n"
                "  vmctl list --failed\n"
                "  vmctl list -o json",
    .options = options,
    .values_size = sizeof(struct list_values),
    .run = run,
};
