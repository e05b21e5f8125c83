/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Strings between quotes, plain and raw, of one line and of several, and the escapes.
 *
 * The order in a text of several lines (version 2, "Multi-line String") is the specification's:
 * white space escapes are removed first, then each line loses the white space the closing line
 * begins with, then the other escapes are resolved. The text passes through one buffer: each step
 * makes it shorter or keeps it, so it works in place.
 */
#include "specs/kdl/kdl_value.h"

#include <string.h>

#include "specs/kdl/kdl_chars.h"

/* The string being read. */
struct string {
    const struct kdl_reader *reader;
    const struct kdl_token *token;
    const char *lines; /* of a text of several lines: where the first begins, in the source */
};

static struct kdl_pos pos_of(const struct string *s, const char *p)
{
    return kdl_pos_after(s->token->pos, s->token->text, p, s->reader->version);
}

/* ---- escapes ---- */

/*
 * Decodes the escape at `p`, a '\', other than a white space escape. Returns the bytes it takes and
 * what it means in `out`, fewer bytes; 0 when it is not one.
 */
static size_t decode_escape(
    const char *p, const char *end, enum kdl_version version, char out[4], size_t *ret_size)
{
    static const char letters[] = "nrtbf\\\"s/";
    static const char meanings[] = "\n\r\t\b\f\\\" /";
    if (end - p < 2) {
        return 0;
    }
    if (p[1] != 'u') {
        const char *letter = p[1] ? strchr(letters, p[1]) : NULL;
        if (!letter || *letter == (version == KDL_V1 ? 's' : '/')) {
            return 0;
        }
        out[0] = meanings[letter - letters];
        *ret_size = 1;
        return 2;
    }
    uint32_t code_point = 0;
    size_t digits = 0;
    const char *at = p + 3;
    for (; at < end && kdl_digit(*at) < 16 && digits < 7; digits++) {
        code_point = code_point << 4 | kdl_digit(*at++);
    }
    bool is_scalar = code_point <= 0x10ffff && (code_point < 0xd800 || code_point > 0xdfff);
    if (at >= end || p[2] != '{' || *at != '}' || digits < 1 || digits > 6 || !is_scalar) {
        return 0;
    }
    *ret_size = kdl_encode(code_point, out);
    return (size_t)(at + 1 - p);
}

/* Behind a white space escape at `p`; `p` when there is none. */
static const char *skip_space_escape(const char *p, const char *end, enum kdl_version version)
{
    const char *at = p + 1;
    for (size_t n = 1; n > 0; at += n) {
        size_t newline = kdl_newline_at(at, end, KDL_V2);
        n = newline ? newline : kdl_space_at(at, end, KDL_V2);
    }
    return version == KDL_V2 && at > p + 1 ? at : p;
}

static bool fail_escape(const struct string *s, const char *p, const char *end)
{
    struct kdl_pos pos = pos_of(s, p);
    enum kdl_version version = s->reader->version;
    if (p + 1 == end || kdl_newline_at(p + 1, end, version) > 0) {
        return kdl_fail(s->reader->error, pos, "a '\\' in a string needs a character after it");
    }
    pos.length = 2;
    if (p[1] == 'u') {
        return kdl_fail(s->reader->error, pos,
            "'\\u{...}' takes 1 to 6 hexadecimal digits of a Unicode character (no surrogate, at "
            "most 10FFFF)");
    }
    size_t bytes;
    (void)kdl_decode(p + 1, &bytes);
    char excerpt[KDL_EXCERPT_SIZE];
    return kdl_fail(s->reader->error, pos,
        "'\\%s' is not an escape: there are \\n \\r \\t \\b \\f %s \\\" \\\\ \\u{...}; a '\\' "
        "itself "
        "is written \\\\",
        kdl_excerpt(excerpt, p + 1, p + 1 + bytes), version == KDL_V1 ? "\\/" : "\\s");
}

/* ---- one line ---- */

static bool fail_unclosed(const struct string *s)
{
    const struct kdl_token *token = s->token;
    bool has_newline = pos_of(s, token->text + token->length).line > token->pos.line;
    if (s->reader->version == KDL_V1 || !has_newline) {
        return kdl_fail(
            s->reader->error, token->pos, "unclosed string: the closing quote is missing");
    }
    return kdl_fail(s->reader->error, token->pos,
        "unclosed string: the closing quote is missing on this line (text of several lines is "
        "written "
        "between \"\"\")");
}

/* Version 1 has newlines in these strings as well. */
static bool read_line(const struct string *s, struct kdl_value *ret)
{
    const char *p = s->token->body;
    const char *end = s->token->body_end;
    if (!end) {
        return fail_unclosed(s);
    }
    char *out = ret->string = kdl_arena_text(s->reader->arena, (size_t)(end - p) + 1);
    while (p < end) {
        size_t bytes = kdl_newline_at(p, end, s->reader->version);
        if (bytes > 0 && s->reader->version == KDL_V2) {
            return fail_unclosed(s);
        }
        if (*p == '\\' && !s->token->is_raw) {
            const char *after = skip_space_escape(p, end, s->reader->version);
            size_t size = 0;
            if (after == p) {
                after += decode_escape(p, end, s->reader->version, out, &size);
            }
            if (after == p) {
                return fail_escape(s, p, end);
            }
            out += size;
            p = after;
            continue;
        }
        if (bytes == 0) {
            (void)kdl_decode(p, &bytes);
        }
        out = mempcpy(out, p, bytes);
        p += bytes;
    }
    *out = '\0';
    ret->length = (size_t)(out - ret->string);
    return true;
}

/* ---- several lines ---- */

/* Copies the first `n_lines` lines to *out, newlines as '\n', without white space escapes; other
 * escapes stay as they are written. Returns where it stopped in the source; NULL after an error. */
static const char *gather(const struct string *s, size_t n_lines, char **out)
{
    const char *p = s->lines;
    const char *end = s->token->body_end;
    while (p < end && n_lines > 0) {
        size_t bytes = kdl_newline_at(p, end, KDL_V2);
        if (bytes > 0) {
            *(*out)++ = '\n';
            p += bytes;
            n_lines--;
            continue;
        }
        if (*p == '\\' && !s->token->is_raw) {
            const char *after = skip_space_escape(p, end, KDL_V2);
            if (after > p) {
                p = after;
                continue;
            }
            char meaning[4];
            size_t size;
            bytes = decode_escape(p, end, KDL_V2, meaning, &size);
            if (bytes == 0) {
                (void)fail_escape(s, p, end);
                return NULL;
            }
        } else {
            (void)kdl_decode(p, &bytes);
        }
        *out = mempcpy(*out, p, bytes);
        p += bytes;
    }
    return p;
}

/* Behind the white space at `p`. */
static const char *skip_spaces(const char *p, const char *end)
{
    for (size_t n = 1; n > 0; p += n) {
        n = kdl_space_at(p, end, KDL_V2);
    }
    return p;
}

/* Finds line `line` in the source; `text` is overwritten. */
static bool fail_indentation(const struct string *s, size_t line, char *text)
{
    const char *start = gather(s, line, &text);
    const char *end = skip_spaces(start, s->token->body_end);
    struct kdl_pos pos = pos_of(s, start);
    uint32_t length = pos_of(s, end).column - pos.column;
    pos.length = length ? length : 1;
    return kdl_fail(s->reader->error, pos,
        "this line must begin with the same white space as the line of the closing \"\"\"");
}

/* Copies a line without its indentation, and resolves its escapes. Returns the end of the copy. */
static char *kdl_string_add_line(const struct string *s, const char *p, const char *end, char *out)
{
    while (p < end) {
        if (*p == '\\' && !s->token->is_raw) {
            char meaning[4];
            size_t size = 0;
            p += decode_escape(p, end, KDL_V2, meaning, &size);
            out = mempcpy(out, meaning, size);
        } else {
            *out++ = *p++;
        }
    }
    return out;
}

/* Takes the indentation [`prefix`, `prefix_end`) off every line of ret->string up to `end`. */
static bool dedent(const struct string *s, const char *end, const char *prefix,
    const char *prefix_end, struct kdl_value *ret)
{
    size_t prefix_size = (size_t)(prefix_end - prefix);
    char *out = ret->string;
    const char *p = ret->string;
    for (size_t line = 0; p <= end; line++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *line_end = newline ? newline : end;
        if (skip_spaces(p, line_end) < line_end) {
            if ((size_t)(line_end - p) < prefix_size || memcmp(p, prefix, prefix_size) != 0) {
                return fail_indentation(s, line, ret->string);
            }
            out = kdl_string_add_line(s, p + prefix_size, line_end, out);
        }
        p = line_end + 1;
        if (newline) {
            *out++ = '\n';
        }
    }
    *out = '\0';
    ret->length = (size_t)(out - ret->string);
    return true;
}

static bool read_lines(struct string *s, struct kdl_value *ret)
{
    const struct kdl_token *token = s->token;
    const char *end = token->text + token->length;
    struct kdl_pos opened = token->pos;
    opened.length = (uint32_t)(token->hashes + token->quotes);
    size_t newline = kdl_newline_at(token->body, end, KDL_V2);
    if (newline == 0) {
        return kdl_fail(s->reader->error, opened,
            "after \"\"\" the text begins on the next line (text of one line is written in "
            "\"...\")");
    }
    if (!token->body_end) {
        return kdl_fail(s->reader->error, opened, "unclosed string: the closing \"\"\" is missing");
    }
    s->lines = token->body + newline;
    char *text = kdl_arena_text(s->reader->arena, (size_t)(token->body_end - s->lines) + 1);
    char *text_end = text;
    ret->string = text;
    if (!gather(s, SIZE_MAX, &text_end)) {
        return false;
    }
    char *last = memrchr(text, '\n', (size_t)(text_end - text));
    const char *prefix = last ? last + 1 : text;
    if (skip_spaces(prefix, text_end) < text_end) {
        struct kdl_pos pos = pos_of(s, token->body_end);
        pos.length = (uint32_t)token->quotes;
        return kdl_fail(s->reader->error, pos, "the closing \"\"\" must be on a line of its own");
    }
    if (!last) {
        text[0] = '\0';
        return true;
    }
    return dedent(s, last, prefix, text_end, ret);
}

bool kdl_read_string(
    const struct kdl_reader *reader, const struct kdl_token *token, struct kdl_value *ret)
{
    struct string s = {.reader = reader, .token = token};
    *ret = (struct kdl_value){.kind = KDL_STRING};
    return token->quotes > 1 ? read_lines(&s, ret) : read_line(&s, ret);
}
