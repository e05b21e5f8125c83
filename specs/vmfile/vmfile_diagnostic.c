/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vmfile/vmfile_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/url.h"

/* Bytes taken from a message: a long path fits, a whole file does not. */
enum { MESSAGE_MAX = 800 };

/* One line without anything a terminal would interpret, nor the secrets of a URL: it ends up in
 * events and logs, too. */
static char *printable_line(const char *written)
{
    cleanup_free char *text = mem_strdup(written);
    url_mask(text);
    cleanup_buf struct buf out = BUF_INIT(8 * MESSAGE_MAX);
    size_t n = strlen(text), shown = text_cut(text, n, MESSAGE_MAX);
    for (size_t i = 0; i < shown;) {
        size_t length = strcspn(text + i, "\n\t");
        length = length < shown - i ? length : shown - i;
        text_add_printable(&out, text + i, length);
        i += length;
        if (i < shown) {
            buf_add_str(&out, text[i++] == '\n' ? "\\n" : "\\t");
        }
    }
    if (shown < n) {
        buf_add_str(&out, "…");
    }
    return buf_steal(&out);
}

static void vmfile_diagnostic_add(struct vmfile *file, struct vmfile_diagnostic diagnostic)
{
    mem_grow(file->diagnostics, file->n_diagnostics);
    file->diagnostics[file->n_diagnostics++] = diagnostic;
}

static bool is_at(struct kdl_pos a, struct kdl_pos b)
{
    return a.source == b.source && a.line == b.line && a.column == b.column;
}

static bool is_known(const struct vmfile_reader *reader, struct kdl_pos pos, const char *message)
{
    for (size_t i = 0; i < reader->n_unresolved; i++) {
        if (is_at(reader->unresolved[i], pos)) {
            return true;
        }
    }
    for (size_t i = 0; i < reader->file->n_diagnostics; i++) {
        const struct vmfile_diagnostic *other = &reader->file->diagnostics[i];
        if (is_at(other->pos, pos) && text_eq(other->message, message)) {
            return true;
        }
    }
    return false;
}

static void vmfile_diagnostic_report(struct vmfile_reader *reader, struct kdl_pos pos,
    const char *hint, const char *fmt, va_list ap) __attribute__((format(printf, 4, 0)));
static void vmfile_diagnostic_report(
    struct vmfile_reader *reader, struct kdl_pos pos, const char *hint, const char *fmt, va_list ap)
{
    struct vmfile *file = reader->file;
    cleanup_free char *message = NULL;
    if (file->n_diagnostics >= VMFILE_MAX_DIAGNOSTICS || vasprintf(&message, fmt, ap) < 0) {
        message = NULL;
        return;
    }
    cleanup_free char *line = printable_line(message);
    if (!is_known(reader, pos, line)) {
        vmfile_diagnostic_add(file, (struct vmfile_diagnostic){
                                        .pos = pos,
                                        .message = TAKE_PTR(line),
                                        .hint = hint ? printable_line(hint) : NULL,
                                    });
    }
}

void vmfile_report(
    struct vmfile_reader *reader, struct kdl_pos pos, const char *hint, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vmfile_diagnostic_report(reader, pos, hint, fmt, ap);
    va_end(ap);
}

void vmfile_report_syntax(struct vmfile_reader *reader, const struct kdl_error *error)
{
    const struct error plain = {.code = ERR_VMFILE_PARSE};
    vmfile_diagnostic_add(reader->file, (struct vmfile_diagnostic){
                                            .pos = error->pos,
                                            .is_syntax = true,
                                            .message = printable_line(error->message),
                                            .hint = mem_strdup(error_help_text(&plain)),
                                        });
}

void vmfile_report_unknown(struct vmfile_reader *reader, struct kdl_pos pos, const char *word,
    const char *const *candidates, size_t count, const char *fmt, ...)
{
    const char *nearest = text_nearest(word, candidates, count);
    cleanup_free char *hint = nearest ? mem_printf("did you mean `%s`?", nearest) : NULL;
    va_list ap;
    va_start(ap, fmt);
    vmfile_diagnostic_report(reader, pos, hint, fmt, ap);
    va_end(ap);
}

static int compare_positions(const void *a, const void *b)
{
    const struct kdl_pos *left = &((const struct vmfile_diagnostic *)a)->pos;
    const struct kdl_pos *right = &((const struct vmfile_diagnostic *)b)->pos;
    if (left->source != right->source) {
        return left->source < right->source ? -1 : 1;
    }
    if (left->line != right->line) {
        return left->line < right->line ? -1 : 1;
    }
    return (left->column > right->column) - (left->column < right->column);
}

void vmfile_sort_diagnostics(struct vmfile *file)
{
    if (file->n_diagnostics > 1) {
        qsort(
            file->diagnostics, file->n_diagnostics, sizeof(*file->diagnostics), compare_positions);
    }
}
