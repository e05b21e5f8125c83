/* SPDX-License-Identifier: MPL-2.0 */
/* Strings between quotes, plain and raw, and the escapes. */
#include "specs/kdl/kdl_internal.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* "\u{...}": 1 to 6 digits of a Unicode scalar value. */
static size_t decode_unicode_escape(const char *p, const char *end, char out[4], size_t *ret_size)
{
    uint32_t code_point = 0;
    size_t digits = 0;
    const char *at = p + 3;
    while (at < end && hex_digit(*at) >= 0 && digits < 7) {
        code_point = code_point << 4 | (uint32_t)hex_digit(*at++);
        digits++;
    }
    bool is_surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
    if (at == end || *at != '}' || digits < 1 || digits > 6 || is_surrogate ||
        code_point > 0x10ffff) {
        return 0;
    }
    *ret_size = kdl_encode(code_point, out);
    return (size_t)(at + 1 - p);
}

size_t kdl_decode_escape(
    const char *p, const char *end, enum kdl_version version, char out[4], size_t *ret_size)
{
    static const char letters[] = "nrtbf\\\"s/";
    static const char meanings[] = "\n\r\t\b\f\\\" /";
    if (end - p < 2) {
        return 0;
    }
    if (p[1] == 'u' && end - p > 2 && p[2] == '{') {
        return decode_unicode_escape(p, end, out, ret_size);
    }
    const char *letter = p[1] ? strchr(letters, p[1]) : NULL;
    if (!letter || *letter == (version == KDL_V1 ? 's' : '/')) {
        return 0;
    }
    out[0] = meanings[letter - letters];
    *ret_size = 1;
    return 2;
}

bool kdl_fail_escape(struct kdl_parser *parser)
{
    struct kdl_pos pos = kdl_here(parser);
    const char *p = parser->at + 1;
    if (p < parser->end && *p == 'u') {
        pos.length = 2;
        return kdl_fail(parser, pos,
            "'\\u{...}' takes 1 to 6 hexadecimal digits of a Unicode "
            "character (no surrogate, at most 10FFFF)");
    }
    if (p == parser->end || kdl_newline_at(p, parser->end)) {
        return kdl_fail(parser, pos, "a '\\' in a string needs a character after it");
    }
    size_t bytes;
    (void)kdl_decode(p, &bytes);
    pos.length = 2;
    char excerpt[KDL_EXCERPT_SIZE];
    return kdl_fail(parser, pos,
        "'\\%s' is not an escape: there are \\n \\r \\t \\b \\f %s \\\" "
        "\\\\ \\u{...}; a '\\' itself is written \\\\",
        kdl_excerpt(excerpt, p, p + bytes), parser->version == KDL_V1 ? "\\/" : "\\s");
}

bool kdl_skip_space_escape(struct kdl_parser *parser, const char *end)
{
    const char *start = parser->at;
    const char *p = start + 1;
    if (parser->version == KDL_V1 || (!kdl_space_at(p, end, KDL_V2) && !kdl_newline_at(p, end))) {
        return false;
    }
    parser->at++;
    for (;;) {
        size_t space = kdl_space_at(parser->at, end, KDL_V2);
        size_t newline = kdl_newline_at(parser->at, end);
        if (newline > 0) {
            kdl_next_line(parser, newline);
        } else if (space > 0) {
            parser->at += space;
        } else {
            return true;
        }
    }
}

static bool fail_unclosed(struct kdl_parser *parser, struct kdl_pos opened, const char *start)
{
    parser->at = start;
    kdl_skip_to_newline(parser);
    kdl_end_token(parser, &opened, start);
    if (parser->version == KDL_V1 || parser->at == parser->end) {
        return kdl_fail(parser, opened, "unclosed string: the closing quote is missing");
    }
    return kdl_fail(parser, opened,
        "unclosed string: the closing quote is missing on this line "
        "(text of several lines stands between \"\"\")");
}

/* The next '"' that no '\' escapes. */
static const char *find_end(const char *p, const char *end)
{
    while (p < end && *p != '"') {
        p += *p == '\\' && end - p > 1 ? 2 : 1;
    }
    return p < end ? p : NULL;
}

void kdl_copy_run(struct kdl_parser *parser, const char *end, char **out)
{
    const char *p = parser->at;
    while (p < end && (unsigned char)(*p - ' ') < 0x7f - ' ' && *p != '\\') {
        p++;
    }
    size_t n = (size_t)(p - parser->at);
    memcpy(*out, parser->at, n);
    *out += n;
    parser->at = p;
}

static bool copy_escape(struct kdl_parser *parser, const char *end, char **out)
{
    if (kdl_skip_space_escape(parser, end)) {
        return true;
    }
    char meaning[4];
    size_t size;
    size_t bytes = kdl_decode_escape(parser->at, end, parser->version, meaning, &size);
    if (bytes == 0) {
        return kdl_fail_escape(parser);
    }
    memcpy(*out, meaning, size);
    *out += size;
    parser->at += bytes;
    return true;
}

/* Appends one code point; false when it is a newline where none may be. */
static bool copy_code_point(struct kdl_parser *parser, char **out)
{
    size_t newline = kdl_newline_at(parser->at, parser->end);
    size_t bytes = newline;
    if (newline == 0) {
        (void)kdl_decode(parser->at, &bytes);
    } else if (parser->version == KDL_V2) {
        return false;
    }
    memcpy(*out, parser->at, bytes);
    *out += bytes;
    if (newline > 0) {
        kdl_next_line(parser, newline);
    } else {
        parser->at += bytes;
    }
    return true;
}

static bool set_string(struct kdl_value *ret, char *string, char *end)
{
    *end = '\0';
    *ret =
        (struct kdl_value){.kind = KDL_STRING, .string = string, .length = (size_t)(end - string)};
    return true;
}

bool kdl_read_quoted(struct kdl_parser *parser, struct kdl_value *ret)
{
    struct kdl_pos opened = kdl_here(parser);
    const char *start = parser->at;
    if (parser->version == KDL_V2 && kdl_at(parser, "\"\"\"")) {
        parser->at += 3;
        return kdl_read_multiline(parser, opened, -1, ret);
    }
    parser->at++;
    const char *end = find_end(parser->at, parser->end);
    if (!end) {
        return fail_unclosed(parser, opened, start);
    }
    char *string = kdl_arena_text(parser->arena, (size_t)(end - start));
    char *out = string;
    for (kdl_copy_run(parser, end, &out); parser->at < end; kdl_copy_run(parser, end, &out)) {
        if (*parser->at == '\\') {
            if (!copy_escape(parser, end, &out)) {
                return false;
            }
        } else if (!copy_code_point(parser, &out)) {
            return fail_unclosed(parser, opened, start);
        }
    }
    parser->at = end + 1;
    return set_string(ret, string, out);
}

/* --- raw strings: #"..."# in version 2, r"..." and r#"..."# in version 1 --- */

bool kdl_at_raw(const struct kdl_parser *parser)
{
    const char *p = parser->at;
    if (kdl_peek(parser) != (parser->version == KDL_V1 ? 'r' : '#')) {
        return false;
    }
    do {
        p++;
    } while (p < parser->end && *p == '#');
    return p < parser->end && *p == '"';
}

const char *kdl_find_raw_end(const char *p, const char *end, const char *quotes, size_t hashes)
{
    size_t n_quotes = strlen(quotes);
    while ((p = memmem(p, (size_t)(end - p), quotes, n_quotes)) != NULL) {
        const char *after = p + n_quotes;
        size_t n = 0;
        while (n < hashes && after + n < end && after[n] == '#') {
            n++;
        }
        if (n == hashes) {
            return p;
        }
        /* Of more than three quotes the last three count; else nothing closes before `after`. */
        p = after < end && *after == '"' ? p + 1 : after + n;
    }
    return NULL;
}

bool kdl_read_raw(struct kdl_parser *parser, struct kdl_value *ret)
{
    struct kdl_pos opened = kdl_here(parser);
    const char *start = parser->at;
    parser->at += parser->version == KDL_V1;
    size_t hashes = 0;
    for (; *parser->at == '#'; parser->at++) {
        hashes++;
    }
    if (parser->version == KDL_V2 && kdl_at(parser, "\"\"\"")) {
        parser->at += 3;
        return kdl_read_multiline(parser, opened, (ptrdiff_t)hashes, ret);
    }
    parser->at++;
    const char *end = kdl_find_raw_end(parser->at, parser->end, "\"", hashes);
    if (!end) {
        return fail_unclosed(parser, opened, start);
    }
    char *string = kdl_arena_text(parser->arena, (size_t)(end - parser->at) + 1);
    char *out = string;
    while (parser->at < end) {
        if (!copy_code_point(parser, &out)) {
            return fail_unclosed(parser, opened, start);
        }
    }
    parser->at = end + 1 + hashes;
    return set_string(ret, string, out);
}
