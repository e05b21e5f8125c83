/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/console_tail.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/show/screen_filter.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/log_file.h"
#include "store/store.h"

void console_tail_note(
    struct console_tail *tail, const struct cli *cli, const struct vm_record *record)
{
    struct stat st;
    const char *id = record->status ? record->status->instance.instance_id : "";
    if (tail->was_seen && !text_eq(tail->instance_id, id)) {
        cleanup_free char *path = paths_vm(&cli->paths, record->name, VM_CONSOLE_LOG);
        tail->from = lstat(path, &st) == 0 ? st.st_size : 0;
    }
    tail->was_seen = true;
    (void)snprintf(tail->instance_id, sizeof(tail->instance_id), "%s", id);
}

char *console_tail_line(
    const struct console_tail *tail, const struct cli *cli, const struct vm_record *record)
{
    enum { TAIL = 1024 };
    struct stat st;
    char bytes[TAIL];
    cleanup_free char *path = paths_vm(&cli->paths, record->name, VM_CONSOLE_LOG);
    if (!vm_status_is_true(record->status, CONDITION_RUNNING) || lstat(path, &st) < 0 ||
        (int64_t)st.st_mtime * 1000 + 999 < record->status->instance.started_at_ms) {
        return NULL;
    }
    /* A log shorter than it was has a predecessor since: all of it is of this boot. */
    off_t from = st.st_size < tail->from ? 0 : tail->from;
    size_t wanted = from > 0 && st.st_size - from < TAIL ? (size_t)(st.st_size - from) : TAIL;
    ssize_t n = wanted > 0 ? log_file_read_tail(path, bytes, wanted) : 0;
    struct screen_filter filter = {.state = SCREEN_TEXT};
    cleanup_buf struct buf shown = BUF_INIT(0);
    screen_filter_add(&filter, &shown, bytes, n > 0 ? (size_t)n : 0);
    char *line = text_last_line(buf_str(&shown), shown.len);
    for (char *at = line; (at = strchr(at, '\t'));) {
        *at = ' ';
    }
    return line;
}
