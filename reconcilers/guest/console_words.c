/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/console_words.h"

#include <stdio.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/log_file.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { TAIL_SIZE = 256 * 1024 };

static const char *find_in(const char *text, size_t n, const char *what)
{
    return memmem(text, n, what, strlen(what));
}

static bool has(const char *line, size_t n, const char *what)
{
    return find_in(line, n, what) != NULL;
}

/* "…cloud-init[412]: 2026-11-28 21:40:11,123 - cc_users_groups.py[WARNING]: Failed to …" */
static void note_complaint(struct console_words *words, const char *line, size_t n)
{
    static const char *const levels[] = {"[WARNING]: ", "[ERROR]: ", "[CRITICAL]: "};
    for (size_t i = 0; i < ARRAY_LEN(levels) && !words->complaint[0]; i++) {
        const char *level = find_in(line, n, levels[i]);
        const char *at = level ? level + strlen(levels[i]) : NULL;
        if (at && has(line, n, ".py[")) {
            (void)snprintf(
                words->complaint, sizeof(words->complaint), "%.*s", (int)(line + n - at), at);
        }
    }
}

/* "ci-info: ++++Authorized keys from /home/debian/.ssh/authorized_keys for user debian++++" */
static void note_user(struct console_words *words, const char *line, size_t n)
{
    static const char before[] = " for user ";
    const char *at = has(line, n, "ci-info: ") && has(line, n, "uthorized keys from ")
                         ? find_in(line, n, before)
                         : NULL;
    if (!at) {
        return;
    }
    at += strlen(before);
    size_t length = 0, used = strlen(words->users);
    while (at + length < line + n && !strchr("+ \t\r.", at[length])) {
        length++;
    }
    (void)snprintf(words->users + used, sizeof(words->users) - used, "%s'%.*s'",
        used > 0 ? ", " : "", (int)length, at);
}

static void note_line(struct console_words *words, const char *line, size_t n)
{
    note_complaint(words, line, n);
    note_user(words, line, n);
    if (has(line, n, "Cloud-init v. ")) {
        bool is_last = has(line, n, " finished");
        words->has_begun = true;
        words->is_through |= is_last;
        words->is_seedless |= is_last && has(line, n, "Datasource DataSourceNone");
    }
}

/* Where the newest boot begins, as far as the console shows: a quiet kernel prints its farewell,
 * but not its version, and after a power cut cloud-init's first stage comes first. */
static const char *newest_boot(const char *text, const char *end)
{
    static const char *const marks[] = {"Linux version ", "reboot: Power down",
        "reboot: Restarting system", "reboot: System halted", " running 'init-local' at "};
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        for (const char *at; (at = find_in(text, (size_t)(end - text), marks[i]));) {
            text = at + strlen(marks[i]);
        }
    }
    return text;
}

void console_words_find(const char *text, size_t n, struct console_words *ret)
{
    const char *end = text + n;
    text = newest_boot(text, end);
    *ret = (struct console_words){.is_through = false};
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((newline ? newline : end) - text);
        while (length > 0 && text[length - 1] == '\r') {
            length--;
        }
        note_line(ret, text, length);
        text = newline ? newline + 1 : end;
    }
}

void console_words_read(const char *path, struct console_words *ret)
{
    *ret = (struct console_words){.is_through = false};
    cleanup_free char *tail = mem_calloc(1, TAIL_SIZE);
    ssize_t n = log_file_read_tail(path, tail, TAIL_SIZE);
    if (n > 0) {
        console_words_find(tail, (size_t)n, ret);
    }
}

/* A kernel without a driver for the seed's bus is the usual cause; the cloud kernels have none for
 * ide. Where a generator decides that there is nothing to do, cloud-init does not run at all. */
static void explain_seed(const struct console_words *words, const char *seed, struct buf *out)
{
    if (words->is_seedless && !seed) {
        buf_add_str(out, "; cloud-init found no seed, and the VMFile has no `cloud-init` block");
    } else if (words->is_seedless) {
        buf_printf(out, "; cloud-init did not find its seed on %s", seed);
    } else if (text_eq(seed, "ide") && !words->has_begun) {
        buf_add_str(
            out, "; its cloud-init printed nothing, and may not have found its seed on ide");
    } else {
        return;
    }
    if (seed && !text_eq(seed, "scsi")) {
        buf_add_str(out, ": more kernels have a driver for `seed \"scsi\"`");
    }
}

void console_words_explain(
    const struct console_words *words, const char *user, const char *seed, struct buf *out)
{
    char quoted[64];
    (void)snprintf(quoted, sizeof(quoted), "'%s'", user);
    if (words->complaint[0]) {
        buf_printf(out, "; cloud-init reported: %s", words->complaint);
    }
    if (words->users[0] && !strstr(words->users, quoted)) {
        buf_printf(out, "; cloud-init set up keys for %s and not for %s", words->users, quoted);
    }
    explain_seed(words, seed, out);
}
