/* SPDX-License-Identifier: MPL-2.0 */
/* Where the parser stands, and telling what is wrong there. */
#include "specs/kdl/kdl_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static uint32_t count_code_points(const char *p, const char *end)
{
    uint32_t n = 0;
    for (; p < end; p++) {
        n += ((unsigned char)*p & 0xc0) != 0x80;
    }
    return n;
}

struct kdl_pos kdl_here(struct kdl_parser *parser)
{
    parser->column += count_code_points(parser->column_at, parser->at);
    parser->column_at = parser->at;
    return (struct kdl_pos){.line = parser->line, .column = parser->column, .length = 1};
}

void kdl_end_token(struct kdl_parser *parser, struct kdl_pos *pos, const char *start)
{
    uint32_t length = 0;
    if (parser->line == pos->line) {
        length = kdl_here(parser).column - pos->column;
    } else {
        const char *p = start;
        while (p < parser->at && kdl_newline_at(p, parser->end) == 0) {
            size_t bytes;
            (void)kdl_decode(p, &bytes);
            p += bytes;
            length++;
        }
    }
    pos->length = length ? length : 1;
}

void kdl_next_line(struct kdl_parser *parser, size_t bytes)
{
    parser->at += bytes;
    parser->line++;
    parser->column = 1;
    parser->column_at = parser->at;
}

bool kdl_fail(struct kdl_parser *parser, struct kdl_pos pos, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    parser->error->pos = pos;
    (void)vsnprintf(parser->error->message, sizeof(parser->error->message), fmt, ap);
    va_end(ap);
    return false;
}

bool kdl_at(const struct kdl_parser *parser, const char *word)
{
    size_t length = strlen(word);
    return (size_t)(parser->end - parser->at) >= length && memcmp(parser->at, word, length) == 0;
}

bool kdl_at_newline(const struct kdl_parser *parser)
{
    return kdl_newline_at(parser->at, parser->end) > 0;
}

const char *kdl_excerpt(char out[KDL_EXCERPT_SIZE], const char *p, const char *end)
{
    static const char ellipsis[] = "...";
    size_t n = 0;
    while (p < end) {
        size_t bytes;
        uint32_t code_point = kdl_decode(p, &bytes);
        if (n + bytes + sizeof(ellipsis) > KDL_EXCERPT_SIZE) {
            memcpy(out + n, ellipsis, sizeof(ellipsis));
            return out;
        }
        /* Version 1 allows control codes nearly everywhere; a terminal must not obey them. */
        bool is_shown = code_point >= 0x20 && (code_point < 0x7f || code_point > 0x9f) &&
                        !kdl_is_forbidden(code_point);
        memcpy(out + n, is_shown ? p : "?", is_shown ? bytes : 1);
        n += is_shown ? bytes : 1;
        p += bytes;
    }
    out[n] = '\0';
    return out;
}

bool kdl_fail_expected(struct kdl_parser *parser, const char *wanted)
{
    struct kdl_pos pos = kdl_here(parser);
    if (parser->at == parser->end) {
        return kdl_fail(parser, pos, "expected %s, found the end of the text", wanted);
    }
    if (kdl_at_newline(parser)) {
        return kdl_fail(parser, pos, "expected %s, found the end of the line", wanted);
    }
    size_t bytes;
    uint32_t code_point = kdl_decode(parser->at, &bytes);
    if (code_point < 0x20 || code_point == 0x7f || kdl_is_forbidden(code_point)) {
        return kdl_fail(parser, pos, "expected %s, found U+%04X", wanted, (unsigned)code_point);
    }
    char excerpt[KDL_EXCERPT_SIZE];
    return kdl_fail(parser, pos, "expected %s, found '%s'", wanted,
        kdl_excerpt(excerpt, parser->at, parser->at + bytes));
}
