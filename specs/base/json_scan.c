/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/json_scan.h"

#include <string.h>

enum {
    DEPTH_MAX = 2048, /* jansson's JSON_PARSER_MAX_DEPTH */
    SAFE_DIGITS = 18, /* int64_t holds any number of so many */
};

void json_scan_init(struct json_scan *scan, struct bytes json)
{
    const char *begin = json.n > 0 ? json.data : ""; /* there may be no data */
    *scan = (struct json_scan){.begin = begin, .at = begin, .end = begin + json.n};
}

void json_scan_clear(struct json_scan *scan)
{
    buf_clear(&scan->text);
}

static void scan_fail(struct json_scan *scan, const char *problem)
{
    if (!scan->problem) {
        scan->problem = problem;
        scan->problem_at = (size_t)(scan->at - scan->begin);
    }
    scan->at = scan->end;
}

/* ---- objects and arrays ---- */

bool json_scan_open(struct json_scan *scan, char close)
{
    scan->at++;
    if (++scan->depth > DEPTH_MAX) {
        scan_fail(scan, "maximum parsing depth reached");
        return false;
    }
    if (json_scan_peek(scan) == close) {
        return json_scan_more(scan, close);
    }
    return !scan->problem;
}

bool json_scan_more(struct json_scan *scan, char close)
{
    char next = json_scan_peek(scan);
    if (next != ',' && next != close) {
        scan_fail(scan, close == '}' ? "'}' expected" : "']' expected");
        return false;
    }
    scan->at++;
    scan->depth -= next == close;
    return next == ',';
}

struct bytes json_scan_key(struct json_scan *scan)
{
    if (json_scan_peek(scan) != '"') {
        scan_fail(scan, "string or '}' expected");
        return (struct bytes){"", 0};
    }
    struct bytes key = json_scan_string(scan);
    if (json_scan_peek(scan) == ':') {
        scan->at++;
    } else {
        scan_fail(scan, "':' expected");
    }
    return key;
}

/* ---- strings ---- */

/* The four digits of \uXXXX; -1: they are not. */
static int32_t take_hex(struct json_scan *scan)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++, scan->at++) {
        char c = scan->at < scan->end ? *scan->at : '\0';
        bool is_letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (!is_letter && (c < '0' || c > '9')) {
            return -1;
        }
        value = value * 16 + (is_letter ? (c & 7) + 9 : c - '0');
    }
    return value;
}

static void add_code_point(struct buf *out, int32_t code)
{
    enum { CONTINUED = 0x80, SIX_BITS = 0x3f };
    if (code < 0x80) {
        buf_add_char(out, (char)code);
        return;
    }
    if (code < 0x800) {
        buf_add_char(out, (char)(0xc0 | code >> 6));
    } else {
        buf_add_char(out, (char)(code < 0x10000 ? 0xe0 | code >> 12 : 0xf0 | code >> 18));
        if (code >= 0x10000) {
            buf_add_char(out, (char)(CONTINUED | (code >> 12 & SIX_BITS)));
        }
        buf_add_char(out, (char)(CONTINUED | (code >> 6 & SIX_BITS)));
    }
    buf_add_char(out, (char)(CONTINUED | (code & SIX_BITS)));
}

/* A code point above 0xFFFF is a pair of surrogates; one alone is none. */
static void take_unicode(struct json_scan *scan)
{
    int32_t code = take_hex(scan);
    if (code >= 0xd800 && code < 0xdc00) {
        bool is_pair = scan->end - scan->at > 1 && scan->at[0] == '\\' && scan->at[1] == 'u';
        scan->at += is_pair ? 2 : 0;
        int32_t low = is_pair ? take_hex(scan) : -1;
        code =
            low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff) : -1;
    }
    if (code <= 0 || (code >= 0xd800 && code < 0xe000)) {
        scan_fail(scan, "invalid escape");
        return;
    }
    add_code_point(&scan->text, code);
}

/* Behind a backslash. */
static void take_escape(struct json_scan *scan)
{
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char letter = scan->at < scan->end ? *scan->at : '\0';
    const char *found = letter ? strchr(letters, letter) : NULL;
    if (!found && letter != 'u') {
        scan_fail(scan, "invalid escape");
        return;
    }
    scan->at++;
    if (found) {
        buf_add_char(&scan->text, meant[found - letters]);
    } else {
        take_unicode(scan);
    }
}

/* To the first byte that is not plain text: a quote, a backslash, or what no string may have. */
static void pass_plain(struct json_scan *scan)
{
    const char *p = scan->at, *end = scan->end;
    size_t n = 1;
    p += json_count_plain(p, end);
    while (n > 0) {
        while (p < end && (signed char)*p >= ' ' && *p != '"' && *p != '\\') { /* ASCII alone */
            p++;
        }
        n = p < end && (unsigned char)*p >= 0x80 ? text_utf8_length(p, (size_t)(end - p)) : 0;
        p += n;
    }
    scan->at = p;
}

struct bytes json_scan_string(struct json_scan *scan)
{
    const char *begin = ++scan->at;
    scan->at += json_count_plain(begin, scan->end);
    if (scan->at < scan->end && *scan->at == '"') { /* mostly */
        return (struct bytes){begin, (size_t)(scan->at++ - begin)};
    }
    pass_plain(scan);
    if (scan->at < scan->end && *scan->at == '"') {
        return (struct bytes){begin, (size_t)(scan->at++ - begin)};
    }
    buf_reset(&scan->text);
    while (scan->at < scan->end && *scan->at == '\\') {
        buf_add(&scan->text, begin, (size_t)(scan->at++ - begin));
        take_escape(scan);
        begin = scan->at;
        pass_plain(scan);
    }
    if (scan->at == scan->end || *scan->at != '"') {
        scan_fail(scan, scan->at == scan->end ? "premature end of input" : "invalid character");
        return (struct bytes){"", 0};
    }
    buf_add(&scan->text, begin, (size_t)(scan->at++ - begin));
    return (struct bytes){buf_str(&scan->text), scan->text.len};
}

/* ---- numbers and words ---- */

static bool pass_digits(struct json_scan *scan)
{
    const char *begin = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') {
        scan->at++;
    }
    return scan->at > begin;
}

static bool pass_byte(struct json_scan *scan, char byte)
{
    bool is_there = scan->at < scan->end && *scan->at == byte;
    scan->at += is_there;
    return is_there;
}

bool json_scan_integer(struct json_scan *scan, int64_t *ret)
{
    bool is_negative = pass_byte(scan, '-'), is_too_big = false;
    const char *digits = scan->at;
    if (!pass_digits(scan) || (*digits == '0' && scan->at - digits > 1)) {
        scan_fail(scan, "invalid token");
        return false;
    }
    int64_t value = 0; /* below zero, where there is one more */
    const char *p = digits;
    for (int i = 0; i < SAFE_DIGITS && p < scan->at; i++) {
        value = value * 10 - (*p++ - '0');
    }
    for (; p < scan->at; p++) {
        is_too_big = is_too_big || __builtin_mul_overflow(value, 10, &value) ||
                     __builtin_sub_overflow(value, *p - '0', &value);
    }
    bool is_real = pass_byte(scan, '.');
    bool is_valid = !is_real || pass_digits(scan);
    if (is_valid && (pass_byte(scan, 'e') || pass_byte(scan, 'E'))) {
        is_real = true;
        (void)(pass_byte(scan, '+') || pass_byte(scan, '-'));
        is_valid = pass_digits(scan);
    }
    is_too_big = is_too_big || (!is_negative && value == INT64_MIN);
    if (!is_valid || (is_too_big && !is_real)) {
        scan_fail(scan, is_valid ? "too big integer" : "invalid token");
        return false;
    }
    *ret = is_negative ? value : -(is_too_big ? 0 : value);
    return !is_real;
}

static void pass_word(struct json_scan *scan, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(scan->end - scan->at) < n || memcmp(scan->at, word, n) != 0) {
        scan_fail(scan, "invalid token");
        return;
    }
    scan->at += n;
}

struct bytes json_scan_skip(struct json_scan *scan)
{
    int64_t ignored;
    char first = json_scan_peek(scan);
    const char *begin = scan->at;
    switch (first) {
    case '{':
        for (bool more = json_scan_open(scan, '}'); more; more = json_scan_more(scan, '}')) {
            (void)json_scan_key(scan);
            (void)json_scan_skip(scan);
        }
        break;
    case '[':
        for (bool more = json_scan_open(scan, ']'); more; more = json_scan_more(scan, ']')) {
            (void)json_scan_skip(scan);
        }
        break;
    case '"':
        (void)json_scan_string(scan);
        break;
    case 't':
    case 'f':
    case 'n':
        pass_word(scan, first == 't' ? "true" : first == 'f' ? "false" : "null");
        break;
    default:
        (void)json_scan_integer(scan, &ignored);
    }
    return (struct bytes){begin, (size_t)(scan->at - begin)};
}

void json_scan_end(struct json_scan *scan)
{
    if (!scan->problem && json_scan_peek(scan)) {
        scan_fail(scan, "end of file expected");
    } else if (!scan->problem && scan->at < scan->end) { /* a NUL */
        scan_fail(scan, "invalid token");
    }
}
