/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl get: VMs as objects or rows, once or as they change; starts no controller. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/scope.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/show/vm_rows.h"
#include "cli/wait/controller_process.h"
#include "cli/wait/wait_loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/selector.h"
#include "store/store.h"

struct get_values {
    struct which_values which;
    bool watches;
};

static bool is_of_all(const struct cli *cli, const char *name)
{
    return !vm_spec_name_is_of_template(name) && scope_has(cli, name);
}

static bool has_labels(const struct selector *selector, const struct vm_record *record)
{
    return selector_matches(selector, record->desired ? record->desired->spec : NULL);
}

static const struct arg_option options[] = {
    {"watch", 'w', ARG_FLAG, offsetof(struct get_values, watches), NULL,
        "keep running, and print each VM that changes"},
    OPTION_NAME(struct get_values),
    OPTION_ALL(struct get_values),
    OPTIONS_END,
};

/* The VMs meant, from the snapshot that is printed, which keeps only these. */
static int get_find(struct cli *cli, const struct get_values *values,
    const struct selector *selector, const struct arg_strings *words, struct vm_list *list,
    struct strings *ret, struct error *err)
{
    cleanup_with(strings_clear) struct strings known = {.count = 0};
    bool is_all = words->count + values->which.names.count == 0;
    for (size_t i = 0; i < list->count; i++) {
        bool is_known = !is_all || is_of_all(cli, list->records[i].name);
        if (is_known && has_labels(selector, &list->records[i])) {
            strings_append(&known, list->records[i].name);
        }
    }
    int rc = targets_choose(&known, &values->which, words, NULL, ret, err);
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *name = list->records[i].name;
        bool is_meant = is_all ? is_of_all(cli, name) : strings_have(ret, name);
        if (is_meant && has_labels(selector, &list->records[i])) {
            list->records[kept++] = list->records[i];
        } else {
            vm_record_clear(&list->records[i]);
        }
    }
    list->count = kept;
    return rc;
}

/* One name, one object; else a list, also of none. */
static void get_print(
    struct cli *cli, const struct vm_list *list, const struct strings *targets, bool is_one)
{
    if (output_is_data(cli)) {
        vm_rows_print_data(cli, list, NULL, is_one);
    } else if (cli->output == OUTPUT_NAME) {
        for (size_t i = 0; i < targets->count; i++) {
            puts(targets->items[i]);
        }
    } else {
        vm_rows_print_records(cli, list);
        if (targets->count > 0) {
            controller_note_absent(cli);
        }
    }
}

/* ---- --watch: printing ---- */

/* A VM as it was printed last. */
struct seen_vm {
    char *name;
    struct vm_mark mark; /* of its records then */
    char *text;          /* what is compared: the row without its age, or the object */
    struct desired_summary desired;
    bool is_there; /* in this round */
};

struct watch {
    struct cli *cli;
    const struct strings *targets; /* NULL: all */
    const struct selector *selector;
    bool is_wide;
    struct table table;
    struct seen_vm *seen;
    size_t count;
};

/* `json` is the object for programs, `row` the row for users. */
static void print_vm(struct watch *watch, const json_t *json, const struct vm_row *row)
{
    if (output_is_data(watch->cli)) {
        output_print_next(watch->cli, json);
    } else if (watch->cli->output == OUTPUT_NAME) {
        puts(row->name);
    } else {
        cleanup_buf struct buf out = BUF_INIT(0);
        vm_rows_add(&watch->table, row, watch->is_wide, clock_wall_ms(clock_system()));
        table_fit_terminal(&watch->table);
        table_print(&watch->table, &out);
        table_empty(&watch->table);
        fputs(buf_str(&out), stdout);
    }
}

static void print_deleted(struct watch *watch, const struct seen_vm *seen)
{
    struct vm_row row = {
        .name = seen->name, .has_desired = true, .is_deleted = true, .desired = seen->desired};
    cleanup_json json_t *json = json_object();
    output_put_name(json, seen->name);
    json_put_text(json, "state", "destroyed");
    json_put_text(json, "display", vm_row_state(&row));
    json_put_flag(json, "ready", false);
    print_vm(watch, json, &row);
}

/* ---- --watch: comparing ---- */

/* Without the age, which is not a change. free() it. */
static char *text_of_row(const struct watch *watch, const struct vm_row *row)
{
    cleanup_with(table_clear) struct table table;
    struct buf out = BUF_INIT(0);
    vm_rows_begin(watch->cli, &table, watch->is_wide, true);
    vm_rows_add(&table, row, watch->is_wide, row->desired.created_ms);
    table_print(&table, &out);
    return buf_steal(&out);
}

static char *text_of_object(const struct vm_record *record)
{
    struct buf out = BUF_INIT(0);
    struct json_writer writer = output_writer(&out, false);
    output_write_vm(&writer, record);
    return buf_steal(&out);
}

/* The search begins at `likely`: the VMs come in the same order each time. */
static struct seen_vm *find_seen(struct watch *watch, const char *name, size_t likely)
{
    for (size_t i = 0; i < watch->count; i++) {
        struct seen_vm *seen = &watch->seen[(likely + i) % watch->count];
        if (text_eq(seen->name, name)) {
            return seen;
        }
    }
    mem_grow(watch->seen, watch->count);
    struct seen_vm *seen = &watch->seen[watch->count++];
    *seen = (struct seen_vm){.name = mem_strdup(name), .mark = VM_MARK_NEVER};
    return seen;
}

static void print_if_changed(
    struct watch *watch, struct seen_vm *seen, const struct vm_record *record)
{
    struct vm_row row = vm_row_of_record(record);
    bool is_data = output_is_data(watch->cli);
    cleanup_free char *text = is_data ? text_of_object(record) : text_of_row(watch, &row);
    if (text_eq(seen->text, text)) {
        return;
    }
    free(seen->text);
    seen->text = TAKE_PTR(text);
    if (record->desired) {
        desired_summary_of(record->desired, &seen->desired);
    }
    cleanup_json json_t *json = is_data ? output_of_vm(record) : NULL;
    print_vm(watch, json, &row);
}

/* Parses only what was written since the last look. What cannot be read is left out, as it is as
 * long as nobody writes it: `vmctl list` names it. */
static void look_at(struct watch *watch, struct seen_vm *seen)
{
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    struct error ignored = {.code = ERR_NONE};
    bool is_changed = false;
    seen->is_there = true;
    if (store_get_changed(
            watch->cli->store, seen->name, &seen->mark, &record, &is_changed, &ignored) == 0 &&
        is_changed && (record.desired || record.status) && has_labels(watch->selector, &record)) {
        print_if_changed(watch, seen, &record);
    }
}

/* The VMs that existed in the last round and are gone. */
static void print_deleted_ones(struct watch *watch)
{
    size_t kept = 0;
    for (size_t i = 0; i < watch->count; i++) {
        struct seen_vm *seen = &watch->seen[i];
        if (seen->is_there) {
            watch->seen[kept++] = *seen;
            continue;
        }
        if (seen->text) {
            print_deleted(watch, seen);
        }
        free(seen->name);
        free(seen->text);
    }
    watch->count = kept;
}

static int print_changes(void *context, bool *ret_is_done, struct error *err)
{
    struct watch *watch = context;
    struct vm_summary_list list = {.count = 0};
    int rc = store_list_summaries(watch->cli->store, &list, err);
    *ret_is_done = false;
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < watch->count; i++) {
        watch->seen[i].is_there = false;
    }
    for (size_t i = 0; i < list.count; i++) {
        const char *name = list.items[i].name;
        bool is_meant =
            watch->targets ? strings_have(watch->targets, name) : is_of_all(watch->cli, name);
        if (is_meant) {
            look_at(watch, find_seen(watch, name, i));
        }
    }
    print_deleted_ones(watch);
    vm_summary_list_clear(&list);
    return fflush(stdout) == 0 ? 0 : error_exit_status(ERR_IO);
}

static void watch_clear(struct watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        free(watch->seen[i].name);
        free(watch->seen[i].text);
    }
    free(watch->seen);
    table_clear(&watch->table);
}

/* Each VM now and again when it changes, until a signal or the end of stdout's reader. `targets`
 * NULL: all, also those created later. */
static int watch_vms(struct cli *cli, const struct strings *targets,
    const struct selector *selector, struct error *err)
{
    cleanup_with(watch_clear) struct watch watch = {.cli = cli,
        .targets = targets,
        .selector = selector,
        .is_wide = cli->output == OUTPUT_WIDE};
    struct wait_loop loop = {.cli = cli, .check = print_changes, .context = &watch};
    vm_rows_begin(cli, &watch.table, watch.is_wide, true); /* the titles wait for the first row */
    vm_rows_make_room(&watch.table);
    wait_loop_open(&loop, INT64_MAX);
    int rc = wait_loop_run(&loop, err);
    wait_loop_close(&loop);
    return rc;
}

/* ---- the command ---- */

/* One of many VMs is read alone; several come from one snapshot. */
static int get_read(struct cli *cli, const struct get_values *values,
    const struct selector *selector, const struct arg_strings *words, struct vm_list *list,
    struct strings *targets, struct error *err)
{
    const struct arg_strings *names = words->count > 0 ? words : &values->which.names;
    bool is_one = words->count + values->which.names.count == 1 && !values->which.is_all;
    int rc = cli_open_store(cli, err);
    if (rc == 0 && is_one) {
        mem_grow(list->records, list->count);
        rc = store_get(cli->store, names->items[0], &list->records[0], err);
        list->count = rc == 0;
        if (rc == 0 && (list->records[0].desired || list->records[0].status)) {
            strings_add(targets, names->items[0]);
        } else if (rc == 0) {
            rc = targets_find_named(cli, &values->which, words, targets, err); /* it is not there */
        }
        return rc;
    }
    rc = rc < 0 ? rc : store_list(cli->store, list, err);
    if (!output_is_data(cli)) {
        vm_rows_sort_records(list);
    }
    return rc < 0 ? rc : get_find(cli, values, selector, words, list, targets, err);
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct get_values *get = values;
    cleanup_with(vm_list_clear) struct vm_list list = {.count = 0};
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    cleanup_with(selector_clear) struct selector selector = {.count = 0};
    int rc = targets_selector(&get->which, words, &selector, err);
    rc = rc < 0 ? rc : get_read(cli, get, &selector, words, &list, &targets, err);
    size_t n_names = words->count + get->which.names.count;
    if (rc == 0 && !get->watches) {
        get_print(cli, &list, &targets, n_names == 1);
    }
    return rc < 0 || !get->watches ? rc
                                   : watch_vms(cli, n_names > 0 ? &targets : NULL, &selector, err);
}

const struct command command_get = {
    .name = "get",
    .summary = "Show VMs as rows or objects, and follow their changes",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Without a name: all VMs. Prints a row per VM, as `list` does (-o wide adds age, restarts\n"
        "and VNC address). -o json and -o yaml print everything known: one object for one name,\n"
        "else a list; -o name prints names. --watch continues until Ctrl-C: a row per change,\n"
        "with -o json one object per line, and a last one with the state Deleted when a VM is\n"
        "gone.",
    .examples = "  vmctl get web -o json\n"
                "  vmctl get -l tier=web -o name\n"
                "  vmctl get -w                      watch all VMs\n"
                "  vmctl get web -w -o json | jq -r --unbuffered .display",
    .reach = REACH_NAMED,
    .options = options,
    .values_size = sizeof(struct get_values),
    .takes_kind = true,
    .run = run,
};
