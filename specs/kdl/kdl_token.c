/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/kdl/kdl_token.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "specs/kdl/kdl_chars.h"

static bool begins_with(const char *p, const char *end, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(end - p) >= n && memcmp(p, word, n) == 0;
}

static const char *skip_code_point(const char *p)
{
    size_t bytes;
    (void)kdl_decode(p, &bytes);
    return p + bytes;
}

/* ---- positions ---- */

/* Moves `pos` from `p` to `end`. Returns the code points before the first newline. */
static uint32_t move(struct kdl_pos *pos, const char *p, const char *end, enum kdl_version version)
{
    uint32_t first_line = pos->line;
    uint32_t first_length = 0;
    while (p < end) {
        bool is_plain = (unsigned char)(*p - ' ') < 0x7f - ' ';
        size_t newline = is_plain ? 0 : kdl_newline_at(p, end, version);
        if (newline > 0) {
            pos->line++;
            pos->column = 1;
            p += newline;
        } else {
            pos->column++;
            first_length += pos->line == first_line;
            p = is_plain ? p + 1 : skip_code_point(p);
        }
    }
    return first_length;
}

struct kdl_pos kdl_pos_after(
    struct kdl_pos pos, const char *from, const char *to, enum kdl_version version)
{
    (void)move(&pos, from, to, version);
    pos.length = 1;
    return pos;
}

static struct kdl_token take(
    struct kdl_scanner *scanner, enum kdl_token_kind kind, const char *token_end)
{
    struct kdl_token token = {.kind = kind, .text = scanner->at, .pos = scanner->pos};
    uint32_t length = move(&scanner->pos, scanner->at, token_end, scanner->version);
    token.length = (size_t)(token_end - scanner->at);
    token.pos.length = length ? length : 1;
    scanner->at = token_end;
    return token;
}

/* ---- comments ---- */

static struct kdl_token take_line_comment(struct kdl_scanner *scanner)
{
    const char *end = scanner->end;
    const char *p = scanner->at;
    const char *shown_end = p; /* behind what is not white space */
    while (p < end && kdl_newline_at(p, end, scanner->version) == 0) {
        /* Of either version: the formatted text may be read as the other one. */
        bool is_space = kdl_space_at(p, end, KDL_V1) > 0 || kdl_space_at(p, end, KDL_V2) > 0 ||
                        kdl_newline_at(p, end, KDL_V2) > 0;
        p = skip_code_point(p);
        shown_end = is_space ? shown_end : p;
    }
    struct kdl_token token = take(scanner, KDL_TOKEN_LINE_COMMENT, p);
    token.length = (size_t)(shown_end - token.text);
    return token;
}

/* Comments nest. The depth is limited though nothing recurses: deeper nesting is garbage, not text.
 */
static struct kdl_token take_block_comment(struct kdl_scanner *scanner)
{
    const char *p = scanner->at;
    size_t depth = 0;
    do {
        if (begins_with(p, scanner->end, "/*")) {
            if (depth == scanner->max_depth) {
                break;
            }
            depth++;
            p += 2;
        } else if (begins_with(p, scanner->end, "*/")) {
            depth--;
            p += 2;
        } else {
            p++;
        }
    } while (depth > 0 && p < scanner->end);
    struct kdl_token token = take(scanner, KDL_TOKEN_BLOCK_COMMENT, p);
    token.is_closed = depth == 0;
    return token;
}

/* ---- strings ---- */

/* Reads the opening quotes of a string at scanner->at; false when there are none. Raw are #"..."#
 * in version 2, r"..." and r#"..."# in version 1. */
static bool open_string(const struct kdl_scanner *scanner, struct kdl_token *token)
{
    const char *end = scanner->end;
    const char *p = scanner->at;
    bool is_v1 = scanner->version == KDL_V1;
    token->is_raw = *p == (is_v1 ? 'r' : '#');
    const char *hashes = p + (token->is_raw && is_v1);
    for (p = hashes; token->is_raw && p < end && *p == '#';) {
        p++;
    }
    if (p == end || *p != '"') {
        return false;
    }
    token->hashes = (size_t)(p - hashes);
    token->quotes = !is_v1 && begins_with(p, end, "\"\"\"") ? 3 : 1;
    token->body = p + token->quotes;
    return true;
}

/* The closing quotes: not escaped, or with as many hashes behind them as there were before. */
static const char *find_close(const struct kdl_token *token, const char *end)
{
    for (const char *p = token->body; p < end; p++) {
        if (*p == '\\' && !token->is_raw) {
            p++;
            continue;
        }
        if (*p != '"' || (size_t)(end - p) < token->quotes + token->hashes ||
            memcmp(p, "\"\"\"", token->quotes) != 0) {
            continue;
        }
        size_t n = 0;
        while (n < token->hashes && p[token->quotes + n] == '#') {
            n++;
        }
        if (n == token->hashes) {
            return p;
        }
    }
    return NULL;
}

static struct kdl_token take_string(struct kdl_scanner *scanner, const struct kdl_token *opened)
{
    const char *close = find_close(opened, scanner->end);
    const char *end = close ? close + opened->quotes + opened->hashes : scanner->end;
    struct kdl_token token = take(scanner, KDL_TOKEN_STRING, end);
    token.is_raw = opened->is_raw;
    token.hashes = opened->hashes;
    token.quotes = opened->quotes;
    token.body = opened->body;
    token.body_end = close;
    return token;
}

/* ---- tokens ---- */

static bool is_punctuation(char c, enum kdl_token_kind *ret)
{
    static const char marks[] = ";=(){}\\";
    static const enum kdl_token_kind kinds[] = {KDL_TOKEN_SEMICOLON, KDL_TOKEN_EQUALS,
        KDL_TOKEN_TYPE_OPEN, KDL_TOKEN_TYPE_CLOSE, KDL_TOKEN_BLOCK_OPEN, KDL_TOKEN_BLOCK_CLOSE,
        KDL_TOKEN_CONTINUATION};
    const char *mark = c ? strchr(marks, c) : NULL;
    if (mark) {
        *ret = kinds[mark - marks];
    }
    return mark != NULL;
}

/* At what is not white space. */
static struct kdl_token take_token(struct kdl_scanner *scanner)
{
    const char *p = scanner->at;
    const char *end = scanner->end;
    enum kdl_token_kind kind;
    struct kdl_token opened = {0};
    size_t newline = kdl_newline_at(p, end, scanner->version);
    if (p == end) {
        return take(scanner, KDL_TOKEN_END, p);
    }
    if (newline > 0) {
        return take(scanner, KDL_TOKEN_NEWLINE, p + newline);
    }
    if (is_punctuation(*p, &kind)) {
        return take(scanner, kind, p + 1);
    }
    if (begins_with(p, end, "//")) {
        return take_line_comment(scanner);
    }
    if (begins_with(p, end, "/*")) {
        return take_block_comment(scanner);
    }
    if (begins_with(p, end, "/-")) {
        return take(scanner, KDL_TOKEN_SLASHDASH, p + 2);
    }
    if (open_string(scanner, &opened)) {
        return take_string(scanner, &opened);
    }
    const char *word = p + (scanner->version == KDL_V2 && *p == '#'); /* "#true" */
    const char *word_end = kdl_identifier_end(word, end, scanner->version);
    return word_end > p ? take(scanner, KDL_TOKEN_WORD, word_end)
                        : take(scanner, KDL_TOKEN_STRAY, skip_code_point(p));
}

struct kdl_scanner kdl_scan(const char *text, const char *end, enum kdl_version version)
{
    return (struct kdl_scanner){.at = text,
        .end = end,
        .version = version,
        .max_depth = SIZE_MAX,
        .pos = {.line = 1, .column = 1, .length = 1}};
}

struct kdl_token kdl_next_token(struct kdl_scanner *scanner)
{
    const char *start = scanner->at;
    for (size_t n = 1; n > 0; scanner->at += n) {
        n = kdl_space_at(scanner->at, scanner->end, scanner->version);
        scanner->pos.column += n > 0;
    }
    bool is_spaced = scanner->at > start;
    struct kdl_token token = take_token(scanner);
    token.is_spaced = is_spaced;
    return token;
}

/* ---- errors ---- */

bool kdl_fail(struct kdl_error *error, struct kdl_pos pos, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    error->pos = pos;
    (void)vsnprintf(error->message, sizeof(error->message), fmt, ap);
    va_end(ap);
    return false;
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
