/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Strings of several lines, between """ (version 2, "Multi-line String").
 *
 * The order is the specification's: white space escapes go first, then each line loses the white
 * space the closing line begins with, then the other escapes are resolved. The text passes through
 * one buffer: each step makes it shorter or keeps it, so it works in place.
 */
#include "specs/kdl/kdl_internal.h"

#include <string.h>

struct body {
    struct kdl_parser start; /* where the first line begins */
    const char *end;         /* the closing quotes */
    bool is_raw;
    char *text; /* lines, separated by '\n', without white space escapes */
    size_t size;
};

/* The closing """: not escaped, or with its hashes. */
static const char *find_end(const char *p, const char *end)
{
    while (end - p >= 3) {
        if (*p == '\\') {
            p += 2;
        } else if (memcmp(p, "\"\"\"", 3) == 0) {
            return p;
        } else {
            p++;
        }
    }
    return NULL;
}

/* Copies what is no newline and no ordinary run: an escape stays as it is written. */
static bool copy_other(struct kdl_parser *parser, const struct body *body, char **out)
{
    size_t bytes;
    if (*parser->at == '\\' && !body->is_raw) {
        if (kdl_skip_space_escape(parser, body->end)) {
            return true;
        }
        char meaning[4];
        size_t size;
        bytes = kdl_decode_escape(parser->at, body->end, KDL_V2, meaning, &size);
        if (bytes == 0) {
            return kdl_fail_escape(parser);
        }
    } else {
        (void)kdl_decode(parser->at, &bytes);
    }
    memcpy(*out, parser->at, bytes);
    *out += bytes;
    parser->at += bytes;
    return true;
}

/* Fills body->text with the first `n_lines` lines, and stops behind them. */
static bool gather(struct kdl_parser *parser, struct body *body, size_t n_lines)
{
    char *out = body->text;
    while (n_lines > 0) {
        kdl_copy_run(parser, body->end, &out);
        size_t newline = kdl_newline_at(parser->at, body->end);
        if (newline > 0) {
            *out++ = '\n';
            kdl_next_line(parser, newline);
            n_lines--;
        } else if (parser->at == body->end) {
            break;
        } else if (!copy_other(parser, body, &out)) {
            return false;
        }
    }
    body->size = (size_t)(out - body->text);
    return true;
}

static bool is_blank(const char *p, const char *end)
{
    while (p < end) {
        size_t space = kdl_space_at(p, end, KDL_V2);
        if (space == 0) {
            return false;
        }
        p += space;
    }
    return true;
}

static bool fail_indentation(struct kdl_parser *parser, struct body *body, size_t line)
{
    *parser = body->start;
    (void)gather(parser, body, line);
    const char *start = parser->at;
    struct kdl_pos pos = kdl_here(parser);
    for (size_t n = 1; n > 0; parser->at += n) {
        n = kdl_space_at(parser->at, body->end, KDL_V2);
    }
    kdl_end_token(parser, &pos, start);
    return kdl_fail(parser, pos,
        "this line must begin with the same white space as the line of "
        "the closing \"\"\"");
}

/* Copies a line without its indentation, and resolves its escapes. */
static char *add_line(const struct body *body, const char *p, const char *end, char *out)
{
    while (p < end) {
        char meaning[4];
        size_t size;
        if (*p == '\\' && !body->is_raw) {
            p += kdl_decode_escape(p, end, KDL_V2, meaning, &size);
            memcpy(out, meaning, size);
            out += size;
        } else {
            *out++ = *p++;
        }
    }
    return out;
}

/* Takes `prefix` off every line of [text, end), in place. */
static bool dedent(struct kdl_parser *parser, struct body *body, const char *end,
    const char *prefix, size_t prefix_size, struct kdl_value *ret)
{
    char *out = body->text;
    const char *p = body->text;
    for (size_t line = 0; p <= end; line++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *line_end = newline ? newline : end;
        if (!is_blank(p, line_end)) {
            if ((size_t)(line_end - p) < prefix_size || memcmp(p, prefix, prefix_size) != 0) {
                return fail_indentation(parser, body, line);
            }
            out = add_line(body, p + prefix_size, line_end, out);
        }
        p = line_end + 1;
        if (newline) {
            *out++ = '\n';
        }
    }
    *out = '\0';
    ret->length = (size_t)(out - body->text);
    return true;
}

bool kdl_read_multiline(
    struct kdl_parser *parser, struct kdl_pos opened, ptrdiff_t hashes, struct kdl_value *ret)
{
    size_t n_hashes = hashes < 0 ? 0 : (size_t)hashes;
    opened.length = (uint32_t)n_hashes + 3;
    size_t newline = kdl_newline_at(parser->at, parser->end);
    if (newline == 0) {
        return kdl_fail(parser, opened,
            "after \"\"\" the text begins on the next line (text of "
            "one line stands in \"...\")");
    }
    kdl_next_line(parser, newline);
    struct body body = {.start = *parser, .is_raw = hashes >= 0};
    body.end = body.is_raw ? kdl_find_raw_end(parser->at, parser->end, "\"\"\"", n_hashes)
                           : find_end(parser->at, parser->end);
    if (!body.end) {
        return kdl_fail(parser, opened, "unclosed string: the closing \"\"\" is missing");
    }
    body.text = kdl_arena_text(parser->arena, (size_t)(body.end - parser->at) + 1);
    if (!gather(parser, &body, SIZE_MAX)) {
        return false;
    }
    char *last = memrchr(body.text, '\n', body.size);
    const char *prefix = last ? last + 1 : body.text;
    size_t prefix_size = (size_t)(body.text + body.size - prefix);
    if (!is_blank(prefix, prefix + prefix_size)) {
        struct kdl_pos pos = kdl_here(parser);
        pos.length = 3;
        return kdl_fail(parser, pos, "the closing \"\"\" must stand on a line of its own");
    }
    *ret = (struct kdl_value){.kind = KDL_STRING, .string = body.text};
    parser->at = body.end + 3 + n_hashes;
    if (!last) {
        body.text[0] = '\0';
        return true;
    }
    return dedent(parser, &body, last, prefix, prefix_size, ret);
}
