/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/help_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/text.h"

enum { DEFAULT_COLUMNS = 80, OPTION_COLUMN = 30 };

void help_text_add_prose(struct buf *out, const char *text)
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        const char *next = p + n + (p[n] == '\n');
        bool is_joined = n > 0 && *p != ' ' && *next && *next != '\n' && *next != ' ';
        buf_add(out, p, n);
        buf_add_str(out, p[n] == '\0' ? "" : is_joined ? " " : "\n");
        p = next;
    }
}

/* UTF-8: a character is a column. */
static size_t columns_of(const char *text, size_t n)
{
    size_t columns = 0;
    for (size_t i = 0; i < n; i++) {
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return columns;
}

/* Where the continuation of a line begins. */
static size_t indent_of(const char *line, size_t length, unsigned columns)
{
    static const char usage[] = "Usage: ";
    size_t lead = strspn(line, " ");
    size_t indent = text_starts_with(line, usage) ? strlen(usage) + 2 : lead ? lead + 2 : 0;
    const char *gap = lead < length ? memmem(line + lead, length - lead, "  ", 2) : NULL;
    if (gap && lead > 0) {
        size_t column = (size_t)(gap - line) + strspn(gap, " ");
        indent = column > OPTION_COLUMN ? OPTION_COLUMN : column;
    }
    return 2 * indent <= columns ? indent : 2 * (lead + 2) <= columns ? lead + 2 : 0;
}

static void fold_line(struct buf *out, const char *line, size_t length, unsigned columns)
{
    size_t column = 0, indent = indent_of(line, length, columns);
    for (size_t at = 0; at < length;) {
        size_t blanks = 0, n = 0;
        while (at + blanks < length && line[at + blanks] == ' ') {
            blanks++;
        }
        while (at + blanks + n < length && line[at + blanks + n] != ' ') {
            n++;
        }
        size_t width = columns_of(line + at + blanks, n);
        bool is_broken = column + blanks + width > columns && column > indent;
        if (is_broken) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        }
        buf_add(out, line + at + (is_broken ? blanks : 0), n + (is_broken ? 0 : blanks));
        column += width + (is_broken ? 0 : blanks);
        at += blanks + n;
    }
}

void help_text_fold(struct buf *out, const char *text, unsigned columns)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        fold_line(out, text, n, columns);
        buf_add_str(out, text[n] ? "\n" : "");
        text += n + (text[n] == '\n');
    }
}

void help_text_print(const char *text)
{
    struct winsize size;
    bool is_terminal = isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
    cleanup_buf struct buf out = BUF_INIT(0);
    help_text_fold(&out, text, is_terminal && size.ws_col > 0 ? size.ws_col : DEFAULT_COLUMNS);
    fputs(buf_str(&out), stdout);
}
