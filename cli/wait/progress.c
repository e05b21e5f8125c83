/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "store/store.h"

static bool is_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && !text_eq(term, "dumb");
}

void progress_init(struct progress *progress, const struct cli *cli, size_t count)
{
    *progress = (struct progress){
        .cli = cli,
        .is_live = is_terminal(),
        .started_ms = clock_monotonic_ms(clock_system()),
        .lines = mem_calloc(count, sizeof(*progress->lines)),
        .count = count,
    };
}

void progress_set_name(struct progress *progress, size_t i, const char *name)
{
    progress->lines[i].name = name;
}

/* What Ready is waiting for says most. */
static char *message_of(const struct vm_record *record)
{
    const struct condition *ready =
        record->status ? &record->status->conditions[CONDITION_READY] : NULL;
    if (!ready || ready->state == CONDITION_TRUE || !ready->message) {
        return NULL;
    }
    struct buf out = BUF_INIT(0);
    text_add_printable(&out, ready->message, strcspn(ready->message, "\n"));
    return buf_steal(&out);
}

static const char *word_of(const struct vm_record *record)
{
    struct desired_summary desired = {.generation = 0};
    struct status_summary status = {.pid = 0};
    if (!record->desired) {
        return "Deleted";
    }
    desired_summary_of(record->desired, &desired);
    if (record->status && text_eq(record->status->uid, record->desired->uid)) {
        status_summary_of(record->status, &status);
    }
    return vm_display_word(&desired, &status);
}

void progress_update(
    struct progress *progress, size_t i, const struct vm_record *record, bool is_settled)
{
    struct progress_line *line = &progress->lines[i];
    const char *word = word_of(record);
    bool is_new = !text_eq(line->word, word);
    (void)snprintf(line->word, sizeof(line->word), "%s", word);
    free(line->message);
    line->message = message_of(record);
    line->is_settled = is_settled;
    if (is_new && !progress->is_live && !progress->cli->is_quiet) {
        fprintf(stderr, "%s: %s\n", line->name, line->word);
    }
}

static size_t terminal_width(void)
{
    struct winsize size;
    bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return is_known ? size.ws_col : 80;
}

/* Bytes of `text` that fill at most `columns`: a character is taken to be one column wide. */
static size_t fitting(const char *text, size_t columns)
{
    size_t i = 0;
    for (; text[i] && (columns > 0 || ((unsigned char)text[i] & 0xc0) == 0x80); i++) {
        columns -= ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return i;
}

static void draw_line(const struct progress *progress, const struct progress_line *line)
{
    int64_t seconds = (clock_monotonic_ms(clock_system()) - progress->started_ms) / 1000;
    cleanup_free char *text = mem_printf("%-12s %-16s %3" PRId64 "s  %s", line->name, line->word,
        seconds, line->message ? line->message : "");
    /* the last column stays free: some terminals go to the next line when it is filled */
    int n = (int)fitting(text, terminal_width() - 1);
    fprintf(stderr, "%.*s\033[K\n", n, text);
}

void progress_erase(struct progress *progress)
{
    if (progress->n_drawn > 0) {
        fprintf(stderr, "\033[%zuA\033[J", progress->n_drawn);
        progress->n_drawn = 0;
    }
}

/* One line less than the screen at most: what scrolled away cannot be redrawn. */
void progress_draw(struct progress *progress)
{
    enum { LINES_MAX = 16 };
    if (!progress->is_live || progress->cli->is_quiet) {
        return;
    }
    progress_erase(progress);
    for (size_t i = 0; i < progress->count && progress->n_drawn < LINES_MAX; i++) {
        if (!progress->lines[i].is_settled) {
            draw_line(progress, &progress->lines[i]);
            progress->n_drawn++;
        }
    }
    (void)fflush(stderr);
}

void progress_clear(struct progress *progress)
{
    progress_erase(progress);
    for (size_t i = 0; i < progress->count; i++) {
        free(progress->lines[i].message);
    }
    free(progress->lines);
    progress->lines = NULL;
}
