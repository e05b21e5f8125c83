/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/show/table.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { GAP = 3, NARROW_GAP = 2 };

void table_init(struct table *table, size_t n_columns)
{
    *table = (struct table){.n_columns = n_columns};
    table->widths = mem_calloc(n_columns, sizeof(*table->widths));
}

void table_begin(struct table *table, const char *const *titles, size_t n_columns)
{
    table_init(table, n_columns);
    for (size_t i = 0; i < n_columns; i++) {
        table_add(table, titles[i]);
    }
}

void table_widen(struct table *table, size_t column, size_t width)
{
    table->widths[column] = width > table->widths[column] ? width : table->widths[column];
}

void table_empty(struct table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->cells[i]);
    }
    free(TAKE_PTR(table->cells));
    table->count = 0;
}

void table_clear(struct table *table)
{
    table_empty(table);
    free(TAKE_PTR(table->widths));
}

void table_add(struct table *table, const char *text)
{
    struct buf cell = BUF_INIT(0);
    mem_grow(table->cells, table->count);
    if (text_is_visible(text)) { /* most are, and there are many */
        table->cells[table->count++] = mem_strdup(text);
        return;
    }
    text_add_printable(&cell, text, strlen(text));
    table->cells[table->count++] = buf_steal(&cell);
}

void table_add_colored(struct table *table, const char *color, const char *text)
{
    bool is_colored = table->use_color && color[0];
    mem_grow(table->cells, table->count);
    table->cells[table->count++] =
        is_colored ? mem_printf("%s%s\033[0m", color, text) : mem_strdup(text);
}

void table_fit_terminal(struct table *table)
{
    struct winsize size;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        table->limit = size.ws_col;
    }
}

void table_add_number(struct table *table, unsigned long long number)
{
    cleanup_free char *text = mem_printf("%llu", number);
    table_add(table, text);
}

/* Bytes of the character at `text`, or of an escape sequence, which has no width. */
static size_t next_character(const char *text, size_t *ret_width)
{
    size_t n = 1;
    *ret_width = *text != '\033';
    if (*text == '\033') {
        n = strcspn(text, "m");
        return n + (text[n] == 'm');
    }
    while (((unsigned char)text[n] & 0xc0) == 0x80) {
        n++;
    }
    return n;
}

static size_t width_of(const char *text)
{
    size_t width = 0, more;
    while (*text) {
        bool is_ascii = *text >= ' ' && *text <= '~'; /* nearly all of it */
        text += is_ascii ? more = 1 : next_character(text, &more);
        width += more;
    }
    return width;
}

static void add_cut(struct buf *out, const char *text, size_t max)
{
    size_t width = 0, more = 0, n = 0;
    if (width_of(text) <= max) {
        buf_add_str(out, text);
        return;
    }
    while (text[n]) {
        size_t bytes = next_character(text + n, &more);
        if (width + more >= max) {
            break;
        }
        width += more;
        n += bytes;
    }
    buf_add(out, text, n);
    buf_add_str(out, text[0] == '\033' ? "…\033[0m" : "…");
}

void table_add_cut_path(struct buf *out, const char *path, size_t max)
{
    size_t width = width_of(path), more = 0, head = (max > 0 ? max - 1 : 0) / 2, n = 0;
    if (width <= max || max < 3) {
        add_cut(out, path, max);
        return;
    }
    for (size_t i = 0; i < head; i++) {
        n += next_character(path + n, &more);
    }
    buf_printf(out, "%.*s…", (int)n, path);
    for (size_t i = head; i < width - (max - 1 - head); i++) {
        n += next_character(path + n, &more);
    }
    buf_add_str(out, path + n);
}

static void add_last(struct buf *out, const struct table *table, const char *cell, size_t max)
{
    if (table->holds_paths && cell[0] == '/') {
        table_add_cut_path(out, cell, max);
    } else {
        add_cut(out, cell, max);
    }
}

/* Whether the column is one of the first `n_gone` that can be spared. */
static bool is_gone(const struct table *table, size_t column, size_t n_gone)
{
    for (size_t i = 0; i < n_gone; i++) {
        if (table->spare[i] == column) {
            return true;
        }
    }
    return false;
}

/* Of all columns but the last, with a gap behind each. */
static size_t width_before_last(const struct table *table, size_t gap, size_t n_gone)
{
    size_t width = 0;
    for (size_t i = 0; i + 1 < table->n_columns; i++) {
        width += is_gone(table, i, n_gone) ? 0 : table->widths[i] + gap;
    }
    return width;
}

static void add_blanks(struct buf *out, size_t count)
{
    static const char blanks[] = "                                ";
    for (size_t n; count > 0; count -= n) {
        n = count < sizeof(blanks) - 1 ? count : sizeof(blanks) - 1;
        buf_add(out, blanks, n);
    }
}

static void trim(struct buf *out)
{
    while (out->len > 0 && out->data[out->len - 1] == ' ') {
        out->data[--out->len] = '\0';
    }
}

void table_print(struct table *table, struct buf *out)
{
    enum { ROOM_MIN = 20, LAST_MIN = 8 }; /* a longer one may be cut, or come below */
    size_t last = table->n_columns - 1, gap = GAP, room = SIZE_MAX, n_gone = 0;
    for (size_t i = 0; i < table->count; i++) {
        table_widen(table, i % table->n_columns, width_of(table->cells[i]));
    }
    if (table->limit > 0) {
        bool is_wide = width_before_last(table, GAP, 0) + table->widths[last] > table->limit;
        size_t n_spare = table->limit < TABLE_NARROW ? table->n_spare : 0;
        gap = is_wide ? NARROW_GAP : GAP;
        size_t needed = table->widths[last] < LAST_MIN ? table->widths[last] : LAST_MIN;
        while (n_gone < n_spare && width_before_last(table, gap, n_gone) + needed > table->limit) {
            n_gone++;
        }
        size_t used = width_before_last(table, gap, n_gone);
        room = table->limit > used ? table->limit - used : 0;
    }
    bool is_below = table->widths[last] > room && room < ROOM_MIN;
    for (size_t i = 0; i < table->count; i++) {
        size_t column = i % table->n_columns;
        const char *cell = table->cells[i];
        if (is_gone(table, column, n_gone)) {
            continue;
        }
        if (column < last) {
            buf_add_str(out, cell);
            add_blanks(out, table->widths[column] + gap - width_of(cell));
            continue;
        }
        if (!is_below) {
            add_last(out, table, cell, room);
        } else if (i > last && cell[0]) { /* the first row's is the title */
            trim(out);
            buf_add_str(out, "\n  ");
            add_last(out, table, cell, table->limit > 2 ? table->limit - 2 : 1);
        }
        trim(out);
        buf_add_char(out, '\n');
    }
}

/* How many bytes of a line to print before it is broken: up to the last blank that fits; all, where
 * it fits or has none. */
static size_t fitting(const char *line, size_t length, size_t column, size_t limit)
{
    size_t last = 0, width;
    bool has_word = false;
    for (size_t i = 0; i < length; column += width) {
        last = line[i] == ' ' && has_word ? i : last;
        has_word = has_word || line[i] != ' ';
        i += next_character(line + i, &width);
        if (column + width > limit && last > 0) {
            return last;
        }
    }
    return length;
}

void table_print_folded(const char *text)
{
    enum { INDENT = 4 };
    struct table terminal = {.limit = 0};
    table_fit_terminal(&terminal);
    while (*text) {
        size_t length = strcspn(text, "\n"), n = length, column = 0;
        while (terminal.limit > 2 * INDENT &&
               (n = fitting(text, length, column, terminal.limit)) < length) {
            printf("%.*s\n%*s", (int)n, text, INDENT, "");
            n += strspn(text + n, " ");
            text += n;
            length -= n;
            column = INDENT;
        }
        length += text[length] == '\n';
        (void)fwrite(text, 1, length, stdout);
        text += length;
    }
}
