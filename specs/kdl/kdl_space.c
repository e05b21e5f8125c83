/* SPDX-License-Identifier: MPL-2.0 */
/* White space, comments, and lines continued with a backslash. */
#include "specs/kdl/kdl_internal.h"

static void skip_plain(struct kdl_parser *parser)
{
    while (parser->at < parser->end && (*parser->at == ' ' || *parser->at == '\t')) {
        parser->at++;
    }
}

/* Steps over one code point or newline of a comment. */
static void skip_commented(struct kdl_parser *parser)
{
    size_t newline = kdl_newline_at(parser->at, parser->end);
    if (newline > 0) {
        kdl_next_line(parser, newline);
        return;
    }
    size_t bytes;
    (void)kdl_decode(parser->at, &bytes);
    parser->at += bytes;
}

/* Comments nest. The depth is bounded though nothing recurses: it tells garbage from text. */
static bool skip_block_comment(struct kdl_parser *parser)
{
    struct kdl_pos opened = kdl_here(parser);
    opened.length = 2;
    size_t depth = 0;
    do {
        if (parser->at == parser->end) {
            return kdl_fail(parser, opened, "unclosed comment: '*/' is missing");
        }
        if (kdl_at(parser, "/*")) {
            if (++depth > parser->limits.max_depth) {
                return kdl_fail(parser, kdl_here(parser), "comments nested more than %zu deep",
                    parser->limits.max_depth);
            }
            parser->at += 2;
        } else if (kdl_at(parser, "*/")) {
            depth--;
            parser->at += 2;
        } else {
            skip_commented(parser);
        }
    } while (depth > 0);
    return true;
}

int kdl_skip_space(struct kdl_parser *parser)
{
    const char *start = parser->at;
    for (;;) {
        skip_plain(parser);
        size_t space = kdl_space_at(parser->at, parser->end, parser->version);
        if (space > 0) {
            parser->at += space;
        } else if (kdl_peek(parser) != '/' || !kdl_at(parser, "/*")) {
            return parser->at != start;
        } else if (!skip_block_comment(parser)) {
            return -1;
        }
    }
}

void kdl_skip_to_newline(struct kdl_parser *parser)
{
    while (parser->at < parser->end && !kdl_at_newline(parser)) {
        size_t bytes;
        (void)kdl_decode(parser->at, &bytes);
        parser->at += bytes;
    }
}

/* "\", space, a comment perhaps, and the newline. Version 2 takes the end of the text for one. */
static bool skip_continuation(struct kdl_parser *parser)
{
    struct kdl_pos pos = kdl_here(parser);
    parser->at++;
    if (kdl_skip_space(parser) < 0) {
        return false;
    }
    if (kdl_at(parser, "//")) {
        kdl_skip_to_newline(parser);
    }
    size_t newline = kdl_newline_at(parser->at, parser->end);
    if (newline > 0) {
        kdl_next_line(parser, newline);
        return true;
    }
    if (parser->at == parser->end && parser->version == KDL_V2) {
        return true;
    }
    return kdl_fail(parser, pos,
        "a '\\' continues the node on the next line: nothing but a "
        "comment may follow it on this one");
}

static bool may_begin_space(const struct kdl_parser *parser)
{
    unsigned char c = (unsigned char)kdl_peek(parser);
    return (c <= ' ' && c != '\n' && c != '\0') || c == '/' || c == '\\' || c >= 0x80;
}

int kdl_skip_node_space(struct kdl_parser *parser)
{
    const char *start = parser->at;
    for (;;) {
        skip_plain(parser);
        if (!may_begin_space(parser)) {
            return parser->at != start;
        }
        int skipped = kdl_skip_space(parser);
        if (skipped < 0) {
            return -1;
        }
        if (kdl_peek(parser) == '\\') {
            if (!skip_continuation(parser)) {
                return -1;
            }
        } else if (skipped == 0) {
            return parser->at != start;
        }
    }
}

int kdl_skip_line_space(struct kdl_parser *parser)
{
    const char *start = parser->at;
    for (;;) {
        if (kdl_skip_node_space(parser) < 0) {
            return -1;
        }
        size_t newline = kdl_newline_at(parser->at, parser->end);
        if (newline > 0) {
            kdl_next_line(parser, newline);
        } else if (kdl_peek(parser) == '/' && kdl_at(parser, "//")) {
            kdl_skip_to_newline(parser);
        } else {
            return parser->at != start;
        }
    }
}
