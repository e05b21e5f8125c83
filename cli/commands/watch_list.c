/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/commands/watch_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/request/targets.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/json.h"
#include "specs/base/text.h"
#include "store/source/sources.h"

enum { SHA_SHOWN = 12 };

static void add_printable(struct table *table, const char *text)
{
    cleanup_buf struct buf shown = BUF_INIT(0);
    text_add_printable(&shown, text, strcspn(text, "\n"));
    table_add(table, buf_str(&shown));
}

/* Those that are still there: a VM that was destroyed since is no news. */
static void describe_removed(
    struct buf *out, const struct source_record *record, const struct targets *known)
{
    for (size_t i = 0; i < record->removed.count; i++) {
        const char *name = record->removed.items[i];
        if (targets_have(known, name)) {
            buf_printf(out, "%s%s", out->len ? ", " : "no longer names ", name);
        }
    }
}

static void add_row(
    struct table *table, const struct source_record *record, const struct targets *known)
{
    char sha[SHA_SHOWN + 1] = "-";
    cleanup_buf struct buf message = BUF_INIT(0);
    if (record->applied_sha[0]) {
        memcpy(sha, record->applied_sha, SHA_SHOWN);
        sha[SHA_SHOWN] = '\0';
    }
    if (record->line > 0) {
        buf_printf(&message, "%" PRIu32 ":%" PRIu32 ": ", record->line, record->column);
    }
    if (record->message) {
        buf_add_str(&message, record->message);
    } else {
        describe_removed(&message, record, known);
    }
    add_printable(table, record->path);
    table_add(table, source_state_name(record->state));
    table_add(table, sha);
    table_add(table, source_prune_name(record->prune));
    add_printable(table, buf_str(&message));
}

static void print_table(const struct source_list *list, const struct targets *known)
{
    static const char *const columns[] = {"FILE", "STATE", "APPLIED", "PRUNE", "MESSAGE"};
    cleanup_with(table_clear) struct table table;
    cleanup_buf struct buf out = BUF_INIT(0);
    table_init(&table, ARRAY_LEN(columns));
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        table_add(&table, columns[i]);
    }
    for (size_t i = 0; i < list->count; i++) {
        add_row(&table, list->items[i], known);
    }
    table_print(&table, &out);
    fputs(buf_str(&out), stdout);
}

static void print_data(
    const struct cli *cli, const struct source_list *list, const struct strings *paths)
{
    cleanup_json json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++) {
        if (!paths || strings_have(paths, list->items[i]->path)) {
            (void)json_array_append_new(array, source_record_to_json(list->items[i]));
        }
    }
    output_print(cli, array);
}

int watch_list(struct cli *cli, const struct strings *paths, struct error *err)
{
    cleanup_with(source_list_clear) struct source_list list = {.count = 0};
    cleanup_with(targets_clear) struct targets known = {.count = 0};
    int rc = targets_of_store(cli, &known, err);
    if (rc < 0 || (rc = sources_list(cli->store, &list, err)) < 0) {
        return rc;
    }
    if (output_is_data(cli)) {
        print_data(cli, &list, paths);
        return 0;
    }
    if (cli->output != OUTPUT_NAME) {
        print_table(&list, &known);
        return 0;
    }
    for (size_t i = 0; i < list.count; i++) {
        puts(list.items[i]->path);
    }
    return 0;
}
