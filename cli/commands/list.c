/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl list: all VMs, from the summaries in the store; starts no controller. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/nodes/node_vms.h"
#include "cli/nodes/nodes.h"
#include "cli/options.h"
#include "cli/request/scope.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/show/vm_rows.h"
#include "cli/wait/controller_process.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"
#include "specs/vm/selector.h"
#include "store/store.h"

struct list_values {
    struct which_values which;
    bool only_failed;
    bool of_all_nodes;
    bool of_all_projects;
    bool shows_labels;
};

static const struct arg_option options[] = {
    {"failed", 0, ARG_FLAG, offsetof(struct list_values, only_failed), NULL,
        "only VMs that have failed"},
    {"all", 'a', ARG_FLAG, offsetof(struct list_values, which.is_all), NULL,
        "VMs of all projects (stopped VMs are always listed)"},
    {"all-nodes", 'A', ARG_FLAG, offsetof(struct list_values, of_all_nodes), NULL,
        "also VMs of the other nodes (see: vmctl node)"},
    {"all-projects", 0, ARG_FLAG, offsetof(struct list_values, of_all_projects), NULL,
        "VMs of all projects, also in the folder of a project"},
    {"show-labels", 0, ARG_FLAG, offsetof(struct list_values, shows_labels), NULL,
        "add a column with the labels"},
    OPTION_NAME(struct list_values),
    OPTIONS_END,
};

/* The VMs that are listed: *ret is as long as the source, true for each of them. */
static int choose(const struct vm_row_source *source, const struct list_values *values,
    const struct arg_strings *words, bool *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings known = {.count = 0}, targets = {.count = 0};
    cleanup_with(selector_clear) struct selector selector = {.count = 0};
    bool has_names = words->count + values->which.names.count > 0;
    int rc = targets_selector(&values->which, words, &selector, err);
    for (size_t i = 0; has_names && i < source->count; i++) {
        strings_append(&known, source->at(source->list, i).name);
    }
    if (rc == 0 && has_names) {
        rc = targets_choose(&known, &values->which, words, NULL, &targets, err);
    }
    for (size_t i = 0; i < source->count; i++) {
        struct vm_row row = source->at(source->list, i);
        bool is_meant =
            has_names ? strings_have(&targets, row.name) : !vm_spec_name_is_of_template(row.name);
        bool is_own = has_names || !source->project || vm_name_is_of(row.name, source->project);
        ret[i] = is_meant && is_own && selector_matches(&selector, row.spec) &&
                 (!values->only_failed || vm_row_has_failed(&row));
    }
    return rc;
}

/* Of other projects, and of none. */
static void note_hidden(const struct cli *cli, const struct vm_row_source *source)
{
    size_t n = 0;
    for (size_t i = 0; source->project && i < source->count; i++) {
        const char *name = source->at(source->list, i).name;
        n += !vm_name_is_of(name, source->project) && !vm_spec_name_is_of_template(name);
    }
    if (n > 0) {
        cli_note(cli, "note: only project '%s'; %zu more VM%s: vmctl list --all-projects",
            source->project, n, n == 1 ? "" : "s");
    }
}

static void print_text(struct cli *cli, const struct vm_row_source *source, bool has_names)
{
    for (size_t i = 0; cli->output == OUTPUT_NAME && i < source->count; i++) {
        if (source->chosen[i]) {
            struct vm_row row = source->at(source->list, i);
            bool is_elsewhere = row.node && !text_eq(row.node, NODE_HERE);
            printf("%s%s%s\n", is_elsewhere ? row.node : "", is_elsewhere ? "/" : "",
                vm_rows_name(source, row.name));
        }
    }
    if (cli->output == OUTPUT_NAME) {
        return;
    }
    vm_rows_print(cli, source);
    if (!has_names) {
        note_hidden(cli, source);
    }
    if (source->count == 0) {
        cli_note(cli, "no VMs yet: vmctl init writes a VMFile.kdl, vmctl up creates its VMs; vmctl "
                      "create creates a single VM");
    } else {
        controller_note_absent(cli);
    }
}

static bool has_any_name(const struct list_values *values, const struct arg_strings *words)
{
    return words->count + values->which.names.count > 0;
}

/* Those of all projects. */
static bool is_of_all(const struct list_values *values)
{
    return values->of_all_projects || values->which.is_all;
}

/* The output needs more than the summaries hold. */
static bool needs_records(const struct cli *cli, const struct list_values *values)
{
    return output_is_data(cli) || cli->output == OUTPUT_WIDE || values->shows_labels ||
           values->which.selector;
}

static int list_records(struct cli *cli, const struct list_values *values,
    const struct arg_strings *words, const char *project, struct error *err)
{
    struct vm_list list = {.count = 0};
    int rc = store_list(cli->store, &list, err);
    if (!output_is_data(cli)) {
        vm_rows_sort_records(&list);
    }
    cleanup_free bool *chosen = mem_calloc(list.count + 1, sizeof(*chosen));
    const struct vm_row_source source = {&list, list.count, vm_rows_at_record, chosen,
        .has_labels = values->shows_labels, .has_projects = is_of_all(values), .project = project};
    if (rc == 0 && (rc = choose(&source, values, words, chosen, err)) == 0) {
        if (output_is_data(cli)) {
            vm_rows_print_data(cli, &list, chosen, false);
        } else {
            print_text(cli, &source, has_any_name(values, words));
        }
    }
    vm_list_clear(&list);
    return rc;
}

/* ---- of all nodes ---- */

static struct vm_row at_node_vm(const void *list, size_t i)
{
    return node_vm_row(&((const struct node_vms *)list)->items[i]);
}

static int list_all_nodes(struct cli *cli, const struct list_values *values,
    const struct arg_strings *words, struct error *err)
{
    cleanup_with(node_vms_clear) struct node_vms vms = {.count = 0};
    int rc = node_vms_ask(cli, needs_records(cli, values), &vms, err);
    cleanup_free bool *chosen = mem_calloc(vms.count + 1, sizeof(*chosen));
    const struct vm_row_source source = {&vms, vms.count, at_node_vm, chosen, .has_nodes = true,
        .has_labels = values->shows_labels, .has_projects = is_of_all(values)};
    rc = rc == 0 ? choose(&source, values, words, chosen, err) : rc;
    cleanup_json json_t *array = json_array();
    for (size_t i = 0; rc == 0 && output_is_data(cli) && i < vms.count; i++) {
        if (chosen[i]) {
            (void)json_array_append_new(array, node_vm_json(&vms.items[i]));
        }
    }
    if (rc == 0 && output_is_data(cli)) {
        output_print(cli, array);
    } else if (rc == 0) {
        print_text(cli, &source, has_any_name(values, words));
        if (vms.summary && cli->output != OUTPUT_NAME) {
            cli_note(cli, "%s", vms.summary);
        }
    }
    return rc;
}

/* ---- of this one ---- */

static struct vm_row at_summary(const void *list, size_t i)
{
    return vm_row_of_summary(&((const struct vm_summary_list *)list)->items[i]);
}

static int compare_summaries(const void *a, const void *b)
{
    const struct vm_summary *x = a, *y = b;
    return vm_rows_compare_names(x->name, y->name);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct list_values *list_values = values;
    struct vm_summary_list list = {.count = 0};
    int rc = cli_open_store(cli, err);
    if (rc == 0 && list_values->of_all_nodes) {
        return list_all_nodes(cli, list_values, words, err);
    }
    const char *project = NULL;
    rc = rc == 0 && !is_of_all(list_values) ? scope_find(cli, NULL, &project, err) : rc;
    if (rc < 0 || needs_records(cli, list_values)) {
        return rc < 0 ? rc : list_records(cli, values, words, project, err);
    }
    rc = store_list_summaries(cli->store, &list, err);
    if (list.count > 1) {
        qsort(list.items, list.count, sizeof(*list.items), compare_summaries);
    }
    cleanup_free bool *chosen = mem_calloc(list.count + 1, sizeof(*chosen));
    const struct vm_row_source source = {.list = &list,
        .count = list.count,
        .at = at_summary,
        .chosen = chosen,
        .has_projects = is_of_all(list_values),
        .project = project};
    if (rc == 0 && (rc = choose(&source, values, words, chosen, err)) == 0) {
        print_text(cli, &source, has_any_name(list_values, words));
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
        "PID and SSH (the port on 127.0.0.1, else the guest's ADDRESS:PORT) are '-' while the VM\n"
        "does not run; 1->3 is a change that a running VM does not have yet. CAUSE is the cause\n"
        "of a failure; on a terminal it is shortened or printed below the row if it does not fit,\n"
        "and vmctl status shows it in full. -o wide adds restarts and the VNC address, -o name\n"
        "prints only names, -o json and -o yaml print everything known. Without a controller, the\n"
        "list shows what the last one recorded, with a note.\n"
        "\n"
        "In the folder of a VMFile with a `project`, or with --project, only that project's VMs\n"
        "are listed, by their names in it. --all-projects or -a lists all VMs, as shop/web, with\n"
        "a column PROJECT if a VM has one (also with -o wide).\n"
        "\n"
        "-A asks all nodes at once, for at most 3 seconds (half a second if one did not answer\n"
        "within the last minute); SEEN is the time of their answer. If a node does not answer,\n"
        "its last known VMs are shown as Unknown: they keep running there.",
    .examples = "  vmctl list\n"
                "  vmctl list web db\n"
                "  vmctl list --failed\n"
                "  vmctl list -l tier=web --show-labels\n"
                "  vmctl list --all-projects\n"
                "  vmctl list -A                     and those of the other nodes\n"
                "  vmctl list -o json",
    .options = options,
    .values_size = sizeof(struct list_values),
    .run = run,
};
