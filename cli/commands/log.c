/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl log: what a guest wrote on its console, and what its provision steps wrote. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/wait/log_stream.h"
#include "cli/wait/wait_loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

struct log_values {
    struct which_values which;
    bool wants_console;
    bool wants_provision;
    bool follows;
    bool wants_times;
    const char *since;
    uint32_t tail;
};

static const struct arg_option options[] = {
    {"console", 0, ARG_FLAG, offsetof(struct log_values, wants_console), NULL,
        "only the console (boot and cloud-init output)"},
    {"provision", 0, ARG_FLAG, offsetof(struct log_values, wants_provision), NULL,
        "only the provision steps' output"},
    {"tail", 'n', ARG_NUMBER, offsetof(struct log_values, tail), "N",
        "only the last N lines of each; 0: all [default: 0]"},
    {"follow", 'f', ARG_FLAG, offsetof(struct log_values, follows), NULL,
        "keep printing new output, until the VMs are gone"},
    {"since", 0, ARG_TEXT, offsetof(struct log_values, since), "TIME",
        "only output of the last DURATION, or since a time such as 2026-11-29T08:00:00Z"},
    {"timestamps", 't', ARG_FLAG, offsetof(struct log_values, wants_times), NULL,
        "begin each line with its time"},
    OPTION_FILE(struct log_values, 0),
    OPTION_NAME(struct log_values),
    OPTION_ALL(struct log_values),
    OPTIONS_END,
};

enum { SOURCES = 2 };
static const struct {
    enum vm_file file;
    const char *title;
} sources[SOURCES] = {
    {VM_CONSOLE_LOG, "console.log"},
    {VM_PROVISION_LOG, "provision.log"},
};

/* A log of a VM, from which it is read. */
struct feed {
    const char *vm_name; /* borrowed */
    int source;
    struct log_stream stream;
    struct buf line; /* of several VMs: the last line, as far as it was written */
};

struct reader {
    struct cli *cli;
    struct feed *feeds;
    size_t count;
    bool are_many;  /* VMs: lines have a prefix, and are printed whole */
    bool has_both;  /* logs of a VM */
    bool has_noted; /* that the console's has no times */
    struct wait_loop loop;
    const struct feed *last; /* whose output was printed last; NULL: none */
};

static void reader_clear(struct reader *reader)
{
    for (size_t i = 0; i < reader->count; i++) {
        log_stream_close(&reader->feeds[i].stream);
        buf_clear(&reader->feeds[i].line);
    }
    free(reader->feeds);
}

/* `web | `, `web/console.log | `, in the VM's colour. free() it. */
static char *prefix_of(const struct reader *reader, size_t vm, int width, const struct feed *feed)
{
    static const char *const colors[] = {"36", "33", "32", "35", "34", "96"};
    cleanup_free char *name = mem_printf("%s%s%s", feed->vm_name, reader->has_both ? "/" : "",
        reader->has_both ? sources[feed->source].title : "");
    return reader->cli->use_color_stdout
               ? mem_printf("\033[%sm%-*s |\033[0m ", colors[vm % ARRAY_LEN(colors)], width, name)
               : mem_printf("%-*s | ", width, name);
}

/* "10m", or a time of RFC 3339, in UTC or with an offset. */
static int parse_since(const char *text, int64_t *ret_ms, struct error *err)
{
    struct tm tm = {.tm_isdst = 0};
    int64_t length_ms;
    int hours = 0, minutes = 0, n = 0;
    if (text_to_duration_ms(text, &length_ms)) {
        *ret_ms = clock_wall_ms(clock_system()) - length_ms;
        return 0;
    }
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    rest = rest && rest[0] == '.' ? rest + 1 + strspn(rest + 1, "0123456789") : rest;
    bool is_utc = rest && (text_eq(rest, "Z") || text_eq(rest, "z"));
    bool has_offset = rest && strchr("+-", rest[0]) && rest[0] &&
                      sscanf(rest + 1, "%2d:%2d%n", &hours, &minutes, &n) == 2 && !rest[1 + n];
    if (!is_utc && !has_offset) {
        (void)error_set(err, ERR_USAGE, "--since: '%s' is neither a duration nor a time", text);
        return error_help(err, "such as 10m, 2h, or 2026-11-29T08:00:00Z");
    }
    int64_t offset_s = (hours * 60 + minutes) * 60;
    *ret_ms = ((int64_t)timegm(&tm) - (has_offset && rest[0] == '-' ? -offset_s : offset_s)) * 1000;
    return 0;
}

/* QEMU itself writes the console's log: only what comes while it is read can be given a time. */
static void open_console(struct reader *reader, struct feed *feed, const struct log_values *values)
{
    bool is_skipped = values->since;
    if (is_skipped) {
        struct log_stream *stream = &feed->stream;
        cleanup_free char *path = mem_strdup(stream->newer ? stream->newer : stream->path);
        cleanup_free char *prefix = mem_strdup(stream->prefix);
        log_stream_close(stream);
        log_stream_open(stream, path, prefix, true);
    }
    if ((is_skipped || values->wants_times) && !reader->has_noted) {
        cli_note(reader->cli, "console.log has no times, as QEMU writes it%s%s",
            is_skipped ? ": its present content is left out" : "",
            values->follows ? "; new lines have one" : "");
        reader->has_noted = true;
    }
}

static void open_feed(struct reader *reader, struct feed *feed, const char *prefix,
    int64_t since_ms, const struct log_values *values)
{
    cleanup_free char *path =
        paths_vm(&reader->cli->paths, feed->vm_name, sources[feed->source].file);
    log_stream_open(&feed->stream, path, prefix, false);
    log_stream_seek_tail(&feed->stream, values->tail);
    if (sources[feed->source].file == VM_CONSOLE_LOG) {
        open_console(reader, feed, values);
    } else if (values->since && !log_stream_seek_time(&feed->stream, since_ms)) {
        cli_note(reader->cli, "%s: %s has no times: all of it is shown", feed->vm_name,
            sources[feed->source].title);
    }
    feed->stream.shows_times = values->wants_times;
}

static void open_logs(struct reader *reader, const struct strings *targets, int64_t since_ms,
    const struct log_values *values)
{
    bool is_wanted[SOURCES] = {!values->wants_provision || values->wants_console,
        !values->wants_console || values->wants_provision};
    size_t width = 0;
    reader->are_many = targets->count > 1;
    reader->has_both = is_wanted[0] && is_wanted[1];
    for (size_t i = 0; i < targets->count; i++) {
        size_t n = strlen(targets->items[i]);
        width = n > width ? n : width;
    }
    width += reader->has_both ? strlen("/provision.log") : 0;
    for (size_t i = 0; i < targets->count * SOURCES; i++) {
        size_t vm = i / SOURCES;
        int source = (int)(i % SOURCES);
        if (!is_wanted[source]) {
            continue;
        }
        mem_grow(reader->feeds, reader->count);
        struct feed *feed = &reader->feeds[reader->count++];
        *feed = (struct feed){.vm_name = targets->items[vm], .source = source};
        cleanup_free char *prefix =
            reader->are_many ? prefix_of(reader, vm, (int)width, feed) : NULL;
        open_feed(reader, feed, prefix, since_ms, values);
    }
}

/* Of one VM with both logs, a title names the log whose lines follow, as in tail(1). Of several VMs
 * only whole lines are printed, for the next may be another's. */
static void log_print(struct reader *reader, struct feed *feed, const struct buf *out, bool is_last)
{
    enum { LINE_MAX_BYTES = 64 * 1024 };
    if (!reader->are_many) {
        if (reader->has_both && reader->last != feed) {
            printf("%s==> %s <==\n", reader->last ? "\n" : "", sources[feed->source].title);
        }
        reader->last = feed;
        fputs(buf_str(out), stdout);
        return;
    }
    buf_add(&feed->line, out->data, out->len);
    const char *end = memrchr(buf_str(&feed->line), '\n', feed->line.len);
    size_t n = end ? (size_t)(end - feed->line.data) + 1 : 0;
    if (n == 0 && feed->line.len > LINE_MAX_BYTES) {
        buf_add_char(&feed->line, '\n');
        feed->stream.is_within_line = false;
        n = feed->line.len;
    }
    n = is_last ? feed->line.len : n;
    (void)fwrite(buf_str(&feed->line), 1, n, stdout);
    buf_consume(&feed->line, n);
}

static void print_news(struct reader *reader, bool is_last)
{
    for (size_t i = 0; i < reader->count; i++) {
        struct feed *feed = &reader->feeds[i];
        bool is_more = true;
        while (is_more) {
            cleanup_buf struct buf out = BUF_INIT(0);
            is_more = log_stream_read(&feed->stream, &out);
            if (!is_more && is_last) {
                log_stream_end(&feed->stream, &out);
            }
            if (out.len > 0) {
                log_print(reader, feed, &out, !is_more && is_last);
            }
        }
        feed->stream.is_live = true;
    }
    (void)fflush(stdout);
}

static int follow_logs(void *context, bool *ret_is_done, struct error *err)
{
    enum { PERIOD_MS = 200 }; /* a log that grows rings no bell */
    struct reader *reader = context;
    int rc = 0;
    *ret_is_done = true;
    for (size_t i = 0; i < reader->count && rc == 0 && *ret_is_done; i++) {
        cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
        rc = store_get(reader->cli->store, reader->feeds[i].vm_name, &record, err);
        *ret_is_done = !record.desired && !record.status;
    }
    reader->loop.sleep_max_ms = PERIOD_MS;
    print_news(reader, *ret_is_done);
    return rc == 0 && ferror(stdout) ? error_exit_status(ERR_IO) : rc; /* main() says why */
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct log_values *log = values;
    cleanup_with(strings_clear) struct strings targets = {.count = 0};
    cleanup_with(reader_clear) struct reader reader = {.cli = cli};
    int64_t since_ms = 0;
    int rc = log->since ? parse_since(log->since, &since_ms, err) : 0;
    if (rc < 0 || (rc = targets_find(cli, &log->which, words, &targets, err)) != 0) {
        return rc;
    }
    open_logs(&reader, &targets, since_ms, log);
    if (log->follows) {
        reader.loop = (struct wait_loop){.cli = cli, .check = follow_logs, .context = &reader};
        wait_loop_open(&reader.loop, INT64_MAX);
        rc = wait_loop_run(&reader.loop, err);
        wait_loop_close(&reader.loop);
    } else {
        print_news(&reader, true);
    }
    return rc;
}

const struct command command_log = {
    .name = "log",
    .aliases = "logs",
    .summary = "Show the console and provision logs of VMs",
    .usage = "[OPTIONS] [VM...]",
    .details =
        "Control characters from the guest are escaped. Without a name: the VMs of the VMFile.\n"
        "With several VMs, each line begins with the VM's name. provision.log has times, to the\n"
        "second: when vmctld received the line. QEMU writes console.log without times: with -t\n"
        "only lines that arrive while -f runs have one, and --since leaves out the rest.",
    .examples = "  vmctl log web\n"
                "  vmctl log web --provision\n"
                "  vmctl log web --console --tail 50\n"
                "  vmctl log -f web\n"
                "  vmctl log web --provision -t --since 10m\n"
                "  vmctl log -f                      of all VMs of the VMFile",
    .reach = REACH_SEVERAL,
    .options = options,
    .values_size = sizeof(struct log_values),
    .run = run,
};
