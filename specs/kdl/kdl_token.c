/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/kdl/kdl_token.h"

#include <stdbool.h>
#include <string.h>

#include "specs/kdl/kdl_internal.h"

static bool goes_on_with(const char *p, const char *end, const char *word)
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

/* ---- comments ---- */

/* White space of either version: what is formatted may be read as the other one. */
static bool is_space(const char *p, const char *end)
{
    return kdl_space_at(p, end, KDL_V1) > 0 || kdl_space_at(p, end, KDL_V2) > 0;
}

static struct kdl_token take_line_comment(struct kdl_scanner *scanner)
{
    const char *start = scanner->at;
    const char *last = start; /* behind what is not white space */
    while (scanner->at < scanner->end && kdl_newline_at(scanner->at, scanner->end) == 0) {
        bool is_shown = !is_space(scanner->at, scanner->end);
        scanner->at = skip_code_point(scanner->at);
        last = is_shown ? scanner->at : last;
    }
    return (struct kdl_token){
        .kind = KDL_TOKEN_LINE_COMMENT, .text = start, .length = (size_t)(last - start)};
}

static const char *block_comment_end(const struct kdl_scanner *scanner, const char *p)
{
    size_t depth = 0;
    while (p < scanner->end) {
        if (goes_on_with(p, scanner->end, "/*")) {
            depth++;
            p += 2;
        } else if (goes_on_with(p, scanner->end, "*/")) {
            p += 2;
            if (--depth == 0) {
                break;
            }
        } else {
            p++;
        }
    }
    return p;
}

/* ---- words ---- */

/* Behind the closing `quotes`, which no backslash escapes. */
static const char *quoted_end(const char *p, const char *end, const char *quotes)
{
    size_t n = strlen(quotes);
    for (p += n; p < end; p++) {
        if (*p == '\\' && end - p > 1) {
            p++;
        } else if (goes_on_with(p, end, quotes)) {
            return p + n;
        }
    }
    return end;
}

/* How many '#' a raw string at `p` has, -1 when there is none. */
static ptrdiff_t raw_hashes(const struct kdl_scanner *scanner, const char *p)
{
    bool is_v1 = scanner->version == KDL_V1;
    if (*p != (is_v1 ? 'r' : '#')) {
        return -1;
    }
    const char *hashes = p + is_v1;
    for (p = hashes; p < scanner->end && *p == '#';) {
        p++;
    }
    return p < scanner->end && *p == '"' ? p - hashes : -1;
}

static const char *raw_end(const struct kdl_scanner *scanner, const char *p, size_t hashes)
{
    const char *start = p + hashes + (scanner->version == KDL_V1);
    bool is_multiline = scanner->version == KDL_V2 && goes_on_with(start, scanner->end, "\"\"\"");
    const char *quotes = is_multiline ? "\"\"\"" : "\"";
    size_t n = strlen(quotes);
    const char *close = kdl_find_raw_end(start + n, scanner->end, quotes, hashes);
    return close ? close + n + hashes : scanner->end;
}

static const char *word_end(const struct kdl_scanner *scanner, const char *p)
{
    const char *end = scanner->end;
    ptrdiff_t hashes = raw_hashes(scanner, p);
    if (hashes >= 0) {
        return raw_end(scanner, p, (size_t)hashes);
    }
    if (*p == '"') {
        bool is_multiline = scanner->version == KDL_V2 && goes_on_with(p, end, "\"\"\"");
        return quoted_end(p, end, is_multiline ? "\"\"\"" : "\"");
    }
    const char *start = p + (scanner->version == KDL_V2 && *p == '#'); /* "#true" */
    const char *after = kdl_identifier_end(start, end, scanner->version);
    return after > p ? after : skip_code_point(p);
}

/* ---- tokens ---- */

static struct kdl_token take(
    struct kdl_scanner *scanner, enum kdl_token_kind kind, const char *token_end)
{
    const char *text = scanner->at;
    scanner->at = token_end;
    return (struct kdl_token){.kind = kind, .text = text, .length = (size_t)(token_end - text)};
}

static bool is_punctuation(char c, enum kdl_token_kind *ret)
{
    static const struct {
        char c;
        enum kdl_token_kind kind;
    } all[] = {
        {';', KDL_TOKEN_SEMICOLON},
        {'=', KDL_TOKEN_EQUALS},
        {'(', KDL_TOKEN_TYPE_OPEN},
        {')', KDL_TOKEN_TYPE_CLOSE},
        {'{', KDL_TOKEN_BLOCK_OPEN},
        {'}', KDL_TOKEN_BLOCK_CLOSE},
        {'\\', KDL_TOKEN_CONTINUATION},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i].c == c) {
            *ret = all[i].kind;
            return true;
        }
    }
    return false;
}

struct kdl_token kdl_next_token(struct kdl_scanner *scanner)
{
    enum kdl_token_kind kind;
    for (size_t n = 1; n > 0; scanner->at += n) {
        n = kdl_space_at(scanner->at, scanner->end, scanner->version);
    }
    const char *p = scanner->at;
    size_t newline = kdl_newline_at(p, scanner->end);
    if (p == scanner->end) {
        return take(scanner, KDL_TOKEN_END, p);
    }
    if (newline > 0) {
        return take(scanner, KDL_TOKEN_NEWLINE, p + newline);
    }
    if (goes_on_with(p, scanner->end, "//")) {
        return take_line_comment(scanner);
    }
    if (goes_on_with(p, scanner->end, "/*")) {
        return take(scanner, KDL_TOKEN_BLOCK_COMMENT, block_comment_end(scanner, p));
    }
    if (goes_on_with(p, scanner->end, "/-")) {
        return take(scanner, KDL_TOKEN_SLASHDASH, p + 2);
    }
    if (is_punctuation(*p, &kind)) {
        return take(scanner, kind, p + 1);
    }
    return take(scanner, KDL_TOKEN_WORD, word_end(scanner, p));
}
