/* SPDX-License-Identifier: MPL-2.0 */
/* vmctl log: what a guest wrote on its console, and what its provision steps wrote. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/request/targets.h"
#include "cli/wait/log_stream.h"
#include "cli/wait/wait_loop.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "store/store.h"

struct log_values {
    struct which_values which;
    bool wants_console;
    bool wants_provision;
    bool follows;
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
        "keep printing as they grow, until the VM is gone"},
    OPTION_FILE(struct log_values, 0),
    OPTION_ONE_NAME(struct log_values),
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

struct reader {
    struct cli *cli;
    const char *name;
    struct log_stream streams[SOURCES];
    bool is_wanted[SOURCES];
    struct wait_loop loop;
    int last; /* whose output was printed last: -1 none */
};

static void open_logs(struct reader *reader, const struct log_values *values)
{
    bool wants_all = values->wants_console == values->wants_provision;
    reader->is_wanted[0] = wants_all || values->wants_console;
    reader->is_wanted[1] = wants_all || values->wants_provision;
    for (int i = 0; i < SOURCES; i++) {
        cleanup_free char *path = paths_vm(&reader->cli->paths, reader->name, sources[i].file);
        log_stream_open(&reader->streams[i], path, NULL, false);
        log_stream_seek_tail(&reader->streams[i], values->tail);
    }
}

/* With both logs, a title names the log whose lines follow, as in tail(1). */
static void log_print(struct reader *reader, int i, const struct buf *out)
{
    bool has_both = reader->is_wanted[0] && reader->is_wanted[1];
    if (has_both && reader->last != i) {
        printf("%s==> %s <==\n", reader->last < 0 ? "" : "\n", sources[i].title);
    }
    reader->last = i;
    fputs(buf_str(out), stdout);
}

static void print_news(struct reader *reader, bool is_last)
{
    for (int i = 0; i < SOURCES; i++) {
        bool is_more = reader->is_wanted[i];
        while (is_more) {
            cleanup_buf struct buf out = BUF_INIT(0);
            is_more = log_stream_read(&reader->streams[i], &out);
            if (!is_more && is_last) {
                log_stream_end(&reader->streams[i], &out);
            }
            if (out.len > 0) {
                log_print(reader, i, &out);
            }
        }
    }
    (void)fflush(stdout);
}

static int follow_logs(void *context, bool *ret_is_done, struct error *err)
{
    enum { PERIOD_MS = 200 }; /* a log that grows rings no bell */
    struct reader *reader = context;
    cleanup_with(vm_record_clear) struct vm_record record = {.name = NULL};
    int rc = store_get(reader->cli->store, reader->name, &record, err);
    *ret_is_done = !record.desired && !record.status;
    reader->loop.sleep_max_ms = PERIOD_MS;
    print_news(reader, *ret_is_done);
    return rc;
}

static int run(
    struct cli *cli, const void *values, const struct arg_strings *words, struct error *err)
{
    const struct log_values *log = values;
    cleanup_free char *name = NULL;
    if (words->count > 1) {
        return error_set(err, ERR_USAGE, "log takes one VM");
    }
    int rc = targets_find_one(cli, &log->which, words->count ? words->items[0] : NULL, &name, err);
    if (rc != 0) {
        return rc;
    }
    struct reader reader = {.cli = cli, .name = name, .last = -1};
    open_logs(&reader, log);
    if (log->follows) {
        reader.loop = (struct wait_loop){.cli = cli, .check = follow_logs, .context = &reader};
        wait_loop_open(&reader.loop, INT64_MAX);
        rc = wait_loop_run(&reader.loop, err);
        wait_loop_close(&reader.loop);
    } else {
        print_news(&reader, true);
    }
    for (int i = 0; i < SOURCES; i++) {
        log_stream_close(&reader.streams[i]);
    }
    return rc;
}

const struct command command_log = {
    .name = "log",
    .aliases = "logs",
    .summary = "Show a VM's console and provision logs",
    .usage = "[OPTIONS] [VM]",
    .details = "Control characters that a guest wrote are escaped. Without a name: the\n"
               "VMFile's only VM.",
    .examples = "  vmctl log web\n"
                "  vmctl log web --provision\n"
                "  vmctl log web --console --tail 50\n"
                "  vmctl log -f web",
    .options = options,
    .values_size = sizeof(struct log_values),
    .run = run,
};
