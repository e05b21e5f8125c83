/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Diagnostics for people, in the shape of rustc's:
 *
 *   error[vmctl::vmfile::validation]: unknown node `memry` in `vm`
 *     --> VMFile.kdl:4:5
 *      |
 *    4 |     memry 2048
 *      |     ^^^^^
 *      = help: did you mean `memory`?
 *
 * The caret is right under the token whatever the line holds: its place follows from the width of
 * each character on a terminal, not from bytes.
 */
#include "specs/vmfile/vmfile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/base/url.h"
#include "specs/vmfile/vmfile_reader.h"

enum {
    TAB_WIDTH = 4,
    WINDOW = 96, /* code points shown at most of a line; of a longer one those around the token */
};

struct palette {
    const char *error, *frame, *help, *bold, *reset;
};

static const struct palette plain = {"", "", "", "", ""};
static const struct palette colored = {
    "\x1b[1;31m", "\x1b[1;34m", "\x1b[1;36m", "\x1b[1m", "\x1b[0m"};

/* A part of the source text. */
struct span {
    const char *at;
    const char *end;
};

/* Bytes of the newline at `p`, 0 when there is none: the same set as the parser counts by
 * (KDL 2.0.1, "Newline"), or lines would be numbered differently. */
static size_t newline_at(const char *p, const char *end)
{
    static const char *const newlines[] = {
        "\r\n", "\n", "\r", "\f", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(newlines); i++) {
        size_t n = strlen(newlines[i]);
        if ((size_t)(end - p) >= n && memcmp(p, newlines[i], n) == 0) {
            return n;
        }
    }
    return 0;
}

static struct span find_line(const char *text, size_t size, uint32_t line)
{
    const char *end = text + size, *p = text;
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        p += 3; /* a byte order mark is no column */
    }
    struct span span = {p, end};
    while (p < end) {
        bool may_be_newline = memchr("\r\n\f\xc2\xe2", *p, 5) != NULL;
        size_t n = may_be_newline ? newline_at(p, end) : 0;
        if (n > 0 && line == 1) {
            span.end = p;
            return span;
        }
        p += n ? n : 1;
        if (n > 0) {
            span.at = p;
            line--;
        }
    }
    return line == 1 ? span : (struct span){end, end};
}

/* Bytes of the code point at the start of the span; a byte that is not UTF-8 counts as one (the
 * parser stops at the first one, so no diagnostic has a column behind it). */
static size_t code_point_bytes(struct span span)
{
    const char *p = span.at + 1;
    unsigned char lead = (unsigned char)span.at[0];
    bool is_sequence = lead >= 0xc2 && lead <= 0xf4;
    while (is_sequence && p < span.end && p - span.at < 4 && ((unsigned char)*p & 0xc0) == 0x80) {
        p++;
    }
    return (size_t)(p - span.at);
}

/* The code point of well-formed UTF-8; of other bytes, a meaningless number. */
static uint32_t decode(const char *p, size_t n)
{
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = n > 1 || (unsigned char)p[0] < 0x80 ? (unsigned char)p[0] & masks[n] : 0xfffd;
    for (size_t i = 1; i < n; i++) {
        c = c << 6 | ((unsigned char)p[i] & 0x3f);
    }
    return c;
}

struct range {
    uint32_t first, last;
};

static bool is_in(uint32_t c, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (c >= ranges[i].first && c <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

/* Cells on a terminal, by the ranges that matter of UAX #11 (East Asian Width) and of the
 * combining marks. wcwidth(3) would depend on the locale. */
static size_t cells(uint32_t c)
{
    static const struct range wide[] = {{0x1100, 0x115f}, {0x2e80, 0x303e}, {0x3041, 0x33ff},
        {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xa000, 0xa4cf}, {0xac00, 0xd7a3}, {0xf900, 0xfaff},
        {0xfe30, 0xfe6f}, {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f},
        {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
    static const struct range none[] = {{0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd},
        {0x064b, 0x065f}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200d}, {0x20d0, 0x20ff},
        {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0100, 0xe01ef}};
    if (c < 0x300) {
        return 1;
    }
    return is_in(c, none, ARRAY_LEN(none)) ? 0 : is_in(c, wide, ARRAY_LEN(wide)) ? 2 : 1;
}

/* Appends one code point of the source in printable form; returns the cells it takes. Codes that
 * reorder the text around them become "\u{...}", or a line could read as another one. */
static size_t add_shown(struct buf *out, const char *p, size_t n)
{
    static const struct range reordering[] = {
        {0x061c, 0x061c}, {0x200e, 0x200f}, {0x202a, 0x202e}, {0x2066, 0x2069}};
    size_t before = out->len;
    uint32_t c = decode(p, n);
    if (c == '\t') {
        buf_printf(out, "%*s", TAB_WIDTH, "");
    } else if (is_in(c, reordering, ARRAY_LEN(reordering))) {
        buf_printf(out, "\\u{%" PRIx32 "}", c);
    } else {
        text_add_printable(out, p, n);
        if (out->len - before == n && memcmp(out->data + before, p, n) == 0) {
            return cells(c);
        }
    }
    return out->len - before;
}

/* The line around the token, made printable, and where the caret goes under it. */
struct excerpt {
    struct buf shown;
    size_t caret_at; /* cells */
    size_t caret_length;
};

/* The first column shown: the token in the middle, unless the line begins or ends near it. */
static uint32_t window_start(uint32_t columns, uint32_t token, uint32_t window)
{
    if (columns <= window || token <= window / 2) {
        return 1;
    }
    uint32_t last_start = columns - window + 1, start = token - window / 2;
    return start < last_start ? start : last_start;
}

/* A star for each code point that a URL in the line keeps secret: the caret stays in its place.
 * Returns the cells that it takes. */
static size_t make_excerpt(
    struct excerpt *excerpt, struct span line, struct kdl_pos pos, uint32_t window)
{
    size_t size = (size_t)(line.end - line.at);
    cleanup_free bool *is_secret = mem_calloc(size + 1, sizeof(*is_secret));
    const char *first = line.at;
    (void)url_mark_secrets(line.at, size, is_secret);
    uint32_t columns = 0, column = 1;
    size_t width = 0;
    for (struct span rest = line; rest.at < rest.end; rest.at += code_point_bytes(rest)) {
        columns++;
    }
    uint32_t start = window_start(columns, pos.column, window);
    for (; column < start; column++) {
        line.at += code_point_bytes(line);
    }
    if (start > 1) {
        buf_add_str(&excerpt->shown, "…");
        width++;
    }
    for (; line.at < line.end && column < start + window; column++) {
        size_t n = code_point_bytes(line);
        excerpt->caret_at = column == pos.column ? width : excerpt->caret_at;
        bool is_masked = is_secret[line.at - first];
        width += add_shown(&excerpt->shown, is_masked ? "*" : line.at, is_masked ? 1 : n);
        if (column >= pos.column && column - pos.column < pos.length) {
            excerpt->caret_length = width - excerpt->caret_at;
        }
        line.at += n;
    }
    bool is_cut = line.at < line.end;
    buf_add_str(&excerpt->shown, is_cut ? "…" : "");
    bool is_at_end = pos.column > columns; /* of the line, or of the file */
    excerpt->caret_at = is_at_end ? width : excerpt->caret_at;
    excerpt->caret_length = excerpt->caret_length ? excerpt->caret_length : 1;
    return width + is_cut + is_at_end;
}

/* As much of the line as `room` cells hold; wide characters take more of them. */
static void fit_excerpt(struct excerpt *excerpt, struct span line, struct kdl_pos pos, size_t room)
{
    enum { WINDOW_MIN = 8 };
    uint32_t window = room < WINDOW ? (uint32_t)room : WINDOW;
    window = window < WINDOW_MIN ? WINDOW_MIN : window;
    while (make_excerpt(excerpt, line, pos, window) > room && window > WINDOW_MIN) {
        buf_reset(&excerpt->shown);
        excerpt->caret_at = excerpt->caret_length = 0;
        window--;
    }
    if (excerpt->caret_at + excerpt->caret_length > room && excerpt->caret_at < room) {
        excerpt->caret_length = room - excerpt->caret_at;
    }
}

/* Words behind what stands in the line already, which is `column` cells. */
static void add_broken(
    struct buf *out, const char *text, size_t column, size_t indent, unsigned columns)
{
    size_t width = 0;
    for (size_t n; *text; text += n, column += width) {
        size_t blanks = strspn(text, " ");
        n = blanks + strcspn(text + blanks, " ");
        width = n;
        for (size_t i = blanks; i < n; i++) {
            width -= ((unsigned char)text[i] & 0xc0) == 0x80;
        }
        if (columns > 0 && column + width > columns && column > indent) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
            width -= blanks;
            text += blanks;
            n -= blanks;
        }
        buf_add(out, text, n);
    }
}

static void render_source(struct buf *out, struct span line, struct kdl_pos pos,
    const struct palette *palette, int gutter, unsigned columns)
{
    struct excerpt excerpt = {.shown = BUF_INIT(0)};
    size_t before = (size_t)gutter + strlen(" | ");
    fit_excerpt(&excerpt, line, pos, columns > before ? columns - before : SIZE_MAX);
    buf_printf(out, "%s%*s |%s\n", palette->frame, gutter, "", palette->reset);
    buf_printf(out, "%s%*" PRIu32 " |%s %s\n", palette->frame, gutter, pos.line, palette->reset,
        buf_str(&excerpt.shown));
    buf_printf(out, "%s%*s |%s %*s%s", palette->frame, gutter, "", palette->reset,
        (int)excerpt.caret_at, "", palette->error);
    for (size_t i = 0; i < excerpt.caret_length; i++) {
        buf_add_char(out, '^');
    }
    buf_printf(out, "%s\n", palette->reset);
    buf_clear(&excerpt.shown);
}

/* Where the file is included, from the innermost on. */
static void render_chain(struct buf *out, const struct vmfile *file, struct kdl_pos pos,
    const char *path, const struct palette *palette, int gutter)
{
    while (file->sources[pos.source].included_at.line > 0) {
        pos = file->sources[pos.source].included_at;
        const char *from = pos.source ? file->sources[pos.source].shown : path;
        buf_printf(out, "%s%*s =%s included from ", palette->frame, gutter, "", palette->reset);
        text_add_printable(out, from, strlen(from));
        buf_printf(out, ":%" PRIu32 ":%" PRIu32 "\n", pos.line, pos.column);
    }
}

static void render_one(struct buf *out, const struct vmfile_diagnostic *diagnostic,
    struct span line, const char *path, const struct palette *palette, unsigned columns)
{
    enum error_code code = diagnostic->is_syntax ? ERR_VMFILE_PARSE : ERR_VMFILE_INVALID;
    struct kdl_pos pos = diagnostic->pos;
    int gutter = snprintf(NULL, 0, "%" PRIu32, pos.line) + 1;
    const char *name = error_code_name(code);
    buf_printf(out, "%serror[%s]%s: %s", palette->error, name, palette->reset, palette->bold);
    add_broken(out, diagnostic->message, strlen("error[]: ") + strlen(name), strlen("  "), columns);
    buf_printf(out, "%s\n", palette->reset);
    buf_printf(out, "%s%*s-->%s ", palette->frame, gutter, "", palette->reset);
    text_add_printable(out, path, strlen(path));
    buf_printf(out, ":%" PRIu32 ":%" PRIu32 "\n", pos.line, pos.column);
    render_source(out, line, pos, palette, gutter, columns);
    if (diagnostic->hint) {
        size_t indent = (size_t)gutter + strlen(" = help: ");
        buf_printf(out, "%s%*s =%s %shelp%s: ", palette->frame, gutter, "", palette->reset,
            palette->help, palette->reset);
        add_broken(out, diagnostic->hint, indent, indent, columns);
        buf_add_char(out, '\n');
    }
}

void vmfile_render_diagnostics(struct buf *out, const struct vmfile *file, const char *text,
    size_t size, const struct vmfile_env *env, bool use_color, unsigned columns)
{
    const struct palette *palette = use_color ? &colored : &plain;
    for (size_t i = 0; i < file->n_diagnostics; i++) {
        const struct vmfile_diagnostic *diagnostic = &file->diagnostics[i];
        if (i > 0) {
            buf_add_char(out, '\n');
        }
        struct kdl_pos pos = diagnostic->pos;
        const struct vmfile_source *source = &file->sources[pos.source];
        bool is_included = pos.source > 0;
        render_one(out, diagnostic,
            find_line(
                is_included ? source->text : text, is_included ? source->size : size, pos.line),
            is_included ? source->shown : env->path, palette, columns);
        render_chain(
            out, file, pos, env->path, palette, snprintf(NULL, 0, "%" PRIu32, pos.line) + 1);
    }
    if (file->n_diagnostics > 1) {
        bool is_all = file->n_diagnostics < VMFILE_MAX_DIAGNOSTICS;
        buf_printf(out, "\n%s%zu errors in ", is_all ? "" : "the first ", file->n_diagnostics);
        text_add_printable(out, env->path, strlen(env->path));
        buf_add_char(out, '\n');
    }
}
