/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/wait/live_block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/wait/terminal_echo.h"
#include "specs/base/cleanup.h"
#include "specs/base/clock.h"
#include "specs/base/text.h"

enum { NOTE_MS = 10 * 1000, DEFAULT_COLUMNS = 80, DEFAULT_ROWS = 24 };

void live_block_open(struct live_block *block, const struct cli *cli)
{
    const char *term = getenv("TERM");
    *block = (struct live_block){
        .cli = cli,
        .is_live = isatty(STDERR_FILENO) && term && !text_eq(term, "dumb"),
        .is_colored = cli->use_color,
        .noted_ms = clock_monotonic_ms(clock_system()),
        .drawn = BUF_INIT(0),
    };
    if (block->is_live && !cli->is_quiet && isatty(STDOUT_FILENO)) { /* else a pager may read it */
        terminal_echo_off(STDERR_FILENO); /* what is typed would stand amid the lines */
    }
}

void live_block_close(struct live_block *block)
{
    live_block_erase(block);
    buf_clear(&block->drawn);
    terminal_echo_on();
}

bool live_block_is_due(struct live_block *block)
{
    int64_t now_ms = clock_monotonic_ms(clock_system());
    if (block->is_live || block->cli->is_quiet || now_ms - block->noted_ms < NOTE_MS) {
        return false;
    }
    block->noted_ms = now_ms;
    return true;
}

/* ---- the terminal ---- */

static struct winsize size_of_terminal(void)
{
    struct winsize size;
    bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0;
    if (!is_known || size.ws_col == 0) {
        size.ws_col = DEFAULT_COLUMNS;
    }
    if (!is_known || size.ws_row == 0) {
        size.ws_row = DEFAULT_ROWS;
    }
    return size;
}

/* The last column stays free: some terminals go to the next line when it is filled. */
unsigned live_block_columns(void)
{
    return size_of_terminal().ws_col - 1U;
}

/* ---- text ---- */

/* The next character or escape sequence: its bytes, and how many columns it takes. Wide ones count
 * as two; to take a narrow one for wide only makes a line shorter. */
static size_t next_glyph(const char *at, unsigned *ret_columns)
{
    enum { FIRST_WIDE = 0xe1, SYMBOLS = 0xe2 }; /* U+1000 on, but not U+2000 to U+2FFF */
    unsigned char first = (unsigned char)*at;
    *ret_columns = 0;
    if (first == '\033') {
        size_t n = strcspn(at, "m");
        return at[n] ? n + 1 : n;
    }
    size_t n = first < 0x80 ? 1 : text_utf8_length(at, strlen(at));
    *ret_columns = n >= 3 && first >= FIRST_WIDE && first != SYMBOLS ? 2 : 1;
    return n ? n : 1;
}

void live_block_fit(struct buf *out, const char *line, unsigned columns)
{
    size_t length = strcspn(line, "\n"), fits = 0, word_end = 0;
    unsigned used = 0, width = 0, word_columns = 0;
    size_t n = 0;
    bool is_styled = false;
    for (size_t at = 0; at < length; at += n) {
        n = next_glyph(line + at, &width);
        is_styled = is_styled || line[at] == '\033';
        used += width;
        if (line[at] == ' ' && line[at + 1] != ' ' && used < columns) {
            word_end = at;
            word_columns = used;
        }
        fits = used < columns ? at + n : fits; /* and the "…" */
    }
    if (used > columns) {
        /* A word that takes up half of the line is cut: without it there would be little left. */
        length = word_columns > columns / 2 ? word_end : fits;
    }
    while (used > columns && length > 0 && line[length - 1] == ' ') {
        length--;
    }
    buf_add(out, line, length);
    buf_printf(
        out, "%s%s\n", used > columns ? "…" : "", used > columns && is_styled ? "\033[0m" : "");
}

unsigned live_block_rows(const char *lines, unsigned columns)
{
    unsigned rows = 0, used = 0, width = 0;
    for (size_t n; *lines; lines += n) {
        n = *lines == '\n' ? 1 : next_glyph(lines, &width);
        if (*lines == '\n') {
            rows += used > columns ? (used + columns - 1) / columns : 1;
            used = 0;
        } else {
            used += width;
        }
    }
    return rows;
}

/* ---- drawing ---- */

/* To the first column of its first line; returns the rows from there. The user's "^C" moved the
 * cursor, and a terminal that was made narrower has wrapped the lines. */
static unsigned add_return(struct buf *out, const struct live_block *block)
{
    unsigned columns = size_of_terminal().ws_col;
    unsigned rows = live_block_rows(
        buf_str(&block->drawn), columns < block->drawn_columns ? columns : block->drawn_columns);
    if (rows > 0) {
        buf_printf(out, "\r\033[%uA", rows);
    }
    return rows;
}

/* Row by row: where all rows of the screen are erased at once, tmux puts them into its history. */
void live_block_erase(struct live_block *block)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    block->noted_ms = clock_monotonic_ms(clock_system());
    if (block->drawn.len > 0) {
        unsigned rows = add_return(&out, block);
        for (unsigned i = 0; i < rows; i++) {
            buf_add_str(&out, "\033[K\n");
        }
        buf_printf(&out, "\033[K\033[%uA", rows);
        fputs(buf_str(&out), stderr);
        (void)fflush(stderr);
        buf_clear(&block->drawn);
    }
}

void live_block_leave(struct live_block *block)
{
    buf_clear(&block->drawn);
}

/* One line less than the screen at most: what scrolled away cannot be redrawn. */
static void fit_block(struct buf *out, const char *lines, struct winsize size)
{
    unsigned n_left = 0, columns = size.ws_col - 1U;
    unsigned room = size.ws_row > 1 ? size.ws_row - 1U : 1;
    for (const char *at = lines; *at; at++) {
        n_left += *at == '\n';
    }
    for (unsigned n_shown = 0; *lines; n_shown++, n_left--) {
        if (n_shown + 1 == room && n_left > 1) {
            buf_printf(out, "… and %u more\n", n_left);
            return;
        }
        live_block_fit(out, lines, columns);
        lines += strcspn(lines, "\n") + 1;
    }
}

/* In one write, over what stands there, so that nothing flickers. */
void live_block_draw(struct live_block *block, const char *lines)
{
    struct winsize size = size_of_terminal();
    cleanup_buf struct buf out = BUF_INIT(0), fitted = BUF_INIT(0);
    if (!block->is_live || block->cli->is_quiet) {
        return;
    }
    fit_block(&fitted, lines, size);
    if (size.ws_col == block->drawn_columns && text_eq(buf_str(&fitted), buf_str(&block->drawn))) {
        return;
    }
    (void)add_return(&out, block);
    for (const char *at = buf_str(&fitted); *at; at += strcspn(at, "\n") + 1) {
        buf_add(&out, at, strcspn(at, "\n"));
        buf_add_str(&out, "\033[K\n");
    }
    buf_add_str(&out, "\033[J");
    fputs(buf_str(&out), stderr);
    (void)fflush(stderr);
    buf_clear(&block->drawn);
    buf_add_str(&block->drawn, buf_str(&fitted));
    block->drawn_columns = size.ws_col;
}
