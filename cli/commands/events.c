/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl events: what happened to VMs, also as it happens; starts no controller. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/scope.h"
#include "cli/request/targets.h"
#include "cli/show/events.h"
#include "cli/show/output.h"
#include "cli/show/table.h"
#include "cli/wait/wait_loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/text.h"
#include "store/store.h"

struct events_values {
    struct which_values which;
    bool follows;
    int64_t since_ms; /* 0: from the beginning */
    uint32_t limit;   /* 0: all */
};

static const struct arg_option options[] = {
    {"follow", 'f', ARG_FLAG, offsetof(struct events_values, follows), NULL,
        "keep running and print new events"},
    {"since", 0, ARG_DURATION, offsetof(struct events_values, since_ms), "DURATION",
        "only events of the last DURATION: 90s, 5m, 2h"},
    {"tail", 'n', ARG_NUMBER, offsetof(struct events_values, limit), "N",
        "only the last N; 0: all [default: 0]"},
    OPTION_NAME(struct events_values),
    OPTION_ALL(struct events_values),
    OPTIONS_END,
};

struct reader {
    struct cli *cli;
    struct strings targets; /* none: all VMs */
    struct table table;
    uint64_t last_sequence;
};

/* ---- which ---- */

static bool has_events(const struct event_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (text_eq(list->items[i].vm_name, name)) {
            return true;
        }
    }
    return false;
}

/* A VM that is gone has left its events: its name is known as long as they are. */
static int find_targets(struct reader *reader, const struct which_values *which,
    const struct arg_strings *words, const struct event_list *list, struct error *err)
{
    const struct arg_strings *given[] = {words, &which->names};
    cleanup_with(strings_clear) struct strings known = {.count = 0};
    int rc = targets_of_store(reader->cli, &known, err);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(given); i++) {
        for (size_t j = 0; j < given[i]->count; j++) {
            if (has_events(list, given[i]->items[j])) {
                strings_add(&known, given[i]->items[j]);
            }
        }
    }
    if (rc < 0 || (words->count + which->names.count == 0 && !which->selector)) {
        return rc;
    }
    rc = targets_choose(&known, which, words, NULL, &reader->targets, err);
    return rc < 0 ? rc : targets_narrow(reader->cli, which, &reader->targets, err);
}

static bool is_wanted(const struct reader *reader, const struct vm_event *event, int64_t from_ms)
{
    return event->last_ms >= from_ms &&
           (reader->targets.count == 0 ? scope_has(reader->cli, event->vm_name)
                                       : strings_have(&reader->targets, event->vm_name));
}

/* Where the newest `limit` of those wanted begin. */
static size_t find_start(
    const struct reader *reader, const struct event_list *list, int64_t from_ms, uint32_t limit)
{
    uint32_t seen = 0;
    for (size_t i = list->count; limit > 0 && i-- > 0;) {
        if (is_wanted(reader, &list->items[i], from_ms) && ++seen == limit) {
            return i;
        }
    }
    return 0;
}

/* ---- printing ---- */

static void begin_table(struct reader *reader)
{
    static const struct {
        const char *title;
        size_t room; /* for what is to come */
    } columns[] = {{"TIME", 0}, {"AGE", 4}, {"TYPE", sizeof("Warning") - 1},
        {"REASON", sizeof("CrashLoopBackOff") - 1}, {"COUNT", 0}, {"VM", 0}, {"MESSAGE", 0}};
    size_t first = reader->cli->output == OUTPUT_WIDE ? 0 : 1;
    table_init(&reader->table, ARRAY_LEN(columns) - first);
    reader->table.use_color = reader->cli->use_color_stdout;
    for (size_t i = first; i < ARRAY_LEN(columns); i++) {
        table_add(&reader->table, columns[i].title);
        table_widen(&reader->table, i - first, columns[i].room);
    }
}

static void events_add_row(struct reader *reader, const struct vm_event *event)
{
    char age[DURATION_SIZE], time[CLOCK_TEXT_SIZE];
    cleanup_buf struct buf message = BUF_INIT(0);
    if (reader->cli->output == OUTPUT_WIDE) {
        clock_format_utc(event->last_ms, time);
        table_add(&reader->table, time);
    }
    duration_format(clock_wall_ms(clock_system()) - event->last_ms, age);
    text_add_printable(&message, event->message, strcspn(event->message, "\n"));
    table_add(&reader->table, age);
    table_add_colored(&reader->table, event->is_warning ? "\033[33m" : "",
        event->is_warning ? "Warning" : "Normal");
    table_add(&reader->table, reason_name(event->reason));
    table_add_number(&reader->table, event->count);
    table_add(&reader->table, event->vm_name);
    table_add(&reader->table, buf_str(&message));
}

/* Rows have a title once there is one. */
static void print_rows(
    struct reader *reader, const struct event_list *list, size_t start, int64_t from_ms)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    size_t n_rows = 0;
    for (size_t i = start; i < list->count; i++) {
        if (is_wanted(reader, &list->items[i], from_ms)) {
            events_add_row(reader, &list->items[i]);
            n_rows++;
        }
    }
    if (n_rows > 0) {
        table_print(&reader->table, &out);
        table_empty(&reader->table);
        table_print_folded(buf_str(&out));
    }
}

static void print_objects(const struct reader *reader, const struct event_list *list, size_t start,
    int64_t from_ms, bool follows)
{
    cleanup_json json_t *array = json_array();
    for (size_t i = start; i < list->count; i++) {
        if (is_wanted(reader, &list->items[i], from_ms)) {
            (void)json_array_append_new(array, event_to_json(&list->items[i]));
        }
    }
    if (!follows) {
        output_print(reader->cli, array);
        return;
    }
    size_t i;
    json_t *event;
    json_array_foreach(array, i, event)
    {
        output_print_next(reader->cli, event);
    }
}

static void events_print(struct reader *reader, const struct event_list *list, size_t start,
    int64_t from_ms, bool follows)
{
    if (output_is_data(reader->cli)) {
        print_objects(reader, list, start, from_ms, follows);
    } else {
        print_rows(reader, list, start, from_ms);
    }
    if (list->count > 0) {
        reader->last_sequence = list->items[list->count - 1].sequence;
    }
}

/* ---- reading ---- */

static int print_first(struct reader *reader, const struct events_values *values,
    const struct arg_strings *words, struct error *err)
{
    struct event_list list = {.count = 0};
    int64_t from_ms = values->since_ms > 0 ? clock_wall_ms(clock_system()) - values->since_ms : 0;
    int rc = store_list_events(reader->cli->store, NULL, 0, 0, &list, err);
    if (rc < 0) {
        return rc;
    }
    rc = find_targets(reader, &values->which, words, &list, err);
    if (rc == 0) {
        size_t start = find_start(reader, &list, from_ms, values->limit);
        events_print(reader, &list, start, from_ms, values->follows);
    }
    event_list_clear(&list);
    return rc;
}

static int print_new(void *context, bool *ret_is_done, struct error *err)
{
    struct reader *reader = context;
    struct event_list list = {.count = 0};
    *ret_is_done = false;
    int rc = store_list_events(reader->cli->store, NULL, reader->last_sequence, 0, &list, err);
    if (rc == 0) {
        events_print(reader, &list, 0, 0, true);
    }
    event_list_clear(&list);
    return rc == 0 && fflush(stdout) != 0 ? error_exit_status(ERR_IO) : rc;
}

static int follow_events(struct reader *reader, const struct events_values *values,
    const struct arg_strings *words, struct error *err)
{
    struct wait_loop loop = {.cli = reader->cli, .check = print_new, .context = reader};
    wait_loop_open(&loop, INT64_MAX);
    int rc = print_first(reader, values, words, err);
    if (rc == 0) {
        rc = wait_loop_run(&loop, err);
    }
    wait_loop_close(&loop);
    return rc;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct events_values *events = values;
    struct reader reader = {.cli = cli};
    int rc = cli_open_store(cli, err);
    if (rc < 0) {
        return rc;
    }
    begin_table(&reader);
    rc = events->follows ? follow_events(&reader, events, words, err)
                         : print_first(&reader, events, words, err);
    table_clear(&reader.table);
    strings_clear(&reader.targets);
    return rc;
}

const struct command command_events = {
    .name = "events",
    .summary = "Show the events of VMs",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Oldest first. Repeated events are counted; AGE is that of the last one. Events of\n"
        "destroyed VMs stay listed under their names. --follow continues until Ctrl-C. -o wide\n"
        "adds the time; -o json and -o yaml print objects, with --follow one per line.",
    .examples =
        "  vmctl events\n"
        "  vmctl events web --since 10m\n"
        "  vmctl events -f -o json | jq -r --unbuffered 'select(.type == \"Warning\").message'",
    .reach = REACH_NAMED,
    .options = options,
    .values_size = sizeof(struct events_values),
    .run = run,
};
