/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/commands/vm_watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/show/vm_rows.h"
#include "cli/wait/wakeup.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

/* A VM as it was printed last. */
struct seen_vm {
    char *name;
    char *text; /* what is compared: the row without its age, or the object */
    struct desired_summary desired;
    bool is_there; /* in the look under way */
};

struct watch {
    struct cli *cli;
    const struct targets *targets; /* NULL: all */
    struct table table;
    struct seen_vm *seen;
    size_t count;
};

static bool is_wide(const struct watch *watch)
{
    return watch->cli->output == OUTPUT_WIDE;
}

/* ---- printing ---- */

static void print_row(struct watch *watch, const struct vm_row *row)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    vm_rows_add(&watch->table, row, is_wide(watch), clock_wall_ms(clock_system()));
    table_print(&watch->table, &out);
    table_empty(&watch->table);
    fputs(buf_str(&out), stdout);
}

static void print_vm(struct watch *watch, const struct vm_record *record)
{
    if (output_is_data(watch->cli)) {
        cleanup_json json_t *json = output_of_vm(record);
        output_print_next(watch->cli, json);
    } else if (watch->cli->output == OUTPUT_NAME) {
        puts(record->name);
    } else {
        struct vm_row row = vm_row_of_record(record);
        print_row(watch, &row);
    }
}

static void print_deleted(struct watch *watch, const struct seen_vm *seen)
{
    if (output_is_data(watch->cli)) {
        cleanup_json json_t *json = json_object();
        json_put_text(json, "name", seen->name);
        json_put_text(json, "state", "destroyed");
        json_put_text(json, "display", "Deleted");
        json_put_flag(json, "ready", false);
        output_print_next(watch->cli, json);
    } else if (watch->cli->output == OUTPUT_NAME) {
        puts(seen->name);
    } else {
        struct vm_row row = {.name = seen->name, .has_desired = true, .is_deleted = true,
            .desired = seen->desired};
        print_row(watch, &row);
    }
}

/* ---- comparing ---- */

/* Its age is no change. free() it. */
static char *text_of_row(const struct watch *watch, const struct vm_record *record)
{
    cleanup_with(table_clear) struct table table;
    struct buf out = BUF_INIT(0);
    struct vm_row row = vm_row_of_record(record);
    vm_rows_begin(&table, is_wide(watch));
    vm_rows_add(&table, &row, is_wide(watch), row.desired.created_ms);
    table_print(&table, &out);
    return buf_steal(&out);
}

static char *text_of(const struct watch *watch, const struct vm_record *record)
{
    if (!output_is_data(watch->cli)) {
        return text_of_row(watch, record);
    }
    cleanup_json json_t *json = output_of_vm(record);
    return json_canonical(json);
}

static struct seen_vm *find_seen(struct watch *watch, const char *name)
{
    for (size_t i = 0; i < watch->count; i++) {
        if (text_eq(watch->seen[i].name, name)) {
            return &watch->seen[i];
        }
    }
    mem_grow(watch->seen, watch->count);
    struct seen_vm *seen = &watch->seen[watch->count++];
    *seen = (struct seen_vm){.name = mem_strdup(name)};
    return seen;
}

static void look_at(struct watch *watch, const struct vm_record *record)
{
    cleanup_free char *text = text_of(watch, record);
    struct seen_vm *seen = find_seen(watch, record->name);
    seen->is_there = true;
    if (text_eq(seen->text, text)) {
        return;
    }
    free(seen->text);
    seen->text = TAKE_PTR(text);
    if (record->desired) {
        desired_summary_of(record->desired, &seen->desired);
    }
    print_vm(watch, record);
}

/* Those that were there and are not any more. */
static void look_for_deleted(struct watch *watch)
{
    size_t kept = 0;
    for (size_t i = 0; i < watch->count; i++) {
        struct seen_vm *seen = &watch->seen[i];
        if (seen->is_there) {
            watch->seen[kept++] = *seen;
            continue;
        }
        print_deleted(watch, seen);
        free(seen->name);
        free(seen->text);
    }
    watch->count = kept;
}

static int look(struct watch *watch, struct error *err)
{
    struct vm_list list = {.count = 0};
    int rc = store_list(watch->cli->store, &list, err);
    if (rc < 0) {
        return rc;
    }
    for (size_t i = 0; i < watch->count; i++) {
        watch->seen[i].is_there = false;
    }
    for (size_t i = 0; i < list.count; i++) {
        if (!watch->targets || targets_have(watch->targets, list.records[i].name)) {
            look_at(watch, &list.records[i]);
        }
    }
    look_for_deleted(watch);
    vm_list_clear(&list);
    return fflush(stdout) == 0 ? 0 : error_exit_status(ERR_IO);
}

/* ---- the whole ---- */

static int look_until_signal(struct watch *watch, struct wakeup *wakeup, struct error *err)
{
    for (;;) {
        int rc = look(watch, err);
        if (rc != 0) {
            return rc;
        }
        int number = wakeup_wait(wakeup, WAKEUP_MAX_MS);
        if (number > 0) {
            return wakeup_exit_status(number);
        }
    }
}

static void clear(struct watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        free(watch->seen[i].name);
        free(watch->seen[i].text);
    }
    free(watch->seen);
    table_clear(&watch->table);
}

int vm_watch(struct cli *cli, const struct targets *targets, struct error *err)
{
    struct watch watch = {.cli = cli, .targets = targets};
    struct wakeup wakeup;
    vm_rows_begin(&watch.table, is_wide(&watch)); /* the titles wait for the first row */
    vm_rows_make_room(&watch.table);
    wakeup_open(&wakeup, &cli->paths);
    wakeup.feeds_reader = true;
    int rc = look_until_signal(&watch, &wakeup, err);
    wakeup_close(&wakeup);
    clear(&watch);
    return rc;
}
