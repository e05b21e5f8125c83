/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Numbers, of any size: a number is its canonical text, and an int64_t as well if it fits one.
 *
 * Canonical is what the test-suite prints: no '+', '_' or leading zeros, "E+10". Version 2 turns
 * hexadecimal, octal and binary into decimal; version 1 keeps them.
 */
#include "specs/kdl/kdl_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/kdl/kdl_chars.h"

/* Turning n digits of another base into decimal takes n² steps. */
#define MAX_DIGITS 4096

#define DECIMAL_LIMB 1000000000U /* the largest power of ten in 32 bits */
#define DECIMAL_LIMB_DIGITS 9

struct scan {
    const char *at;
    const char *end;
    char *out; /* canonical digits go here */
};

static bool accept(struct scan *scan, const char *any_of)
{
    if (scan->at == scan->end || !strchr(any_of, *scan->at)) {
        return false;
    }
    scan->at++;
    return true;
}

/* A digit, then digits and underscores. Leading zeros are kept or dropped, the last one stays. */
static bool scan_digits(struct scan *scan, unsigned base, bool keep_zeros, bool underscores)
{
    if (scan->at == scan->end || kdl_digit(*scan->at) >= base) {
        return false;
    }
    const char *first = scan->out;
    for (; scan->at < scan->end; scan->at++) {
        char c = *scan->at;
        if (c == '_' && underscores) {
            continue;
        }
        if (kdl_digit(c) >= base) {
            break;
        }
        if (!keep_zeros && scan->out == first + 1 && *first == '0') {
            scan->out--;
        }
        *scan->out++ = (char)(c >= 'A' && c <= 'F' ? c | 0x20 : c);
    }
    return true;
}

static bool scan_decimal(struct scan *scan, enum kdl_version version, bool *ret_is_integer)
{
    *ret_is_integer = true;
    if (!scan_digits(scan, 10, false, true)) {
        return false;
    }
    if (accept(scan, ".")) {
        *ret_is_integer = false;
        *scan->out++ = '.';
        /* Underscores here: 1.0.0 has a test (underscore_in_fraction) that they are an error. */
        if (!scan_digits(scan, 10, true, version == KDL_V2)) {
            return false;
        }
    }
    if (accept(scan, "eE")) {
        *ret_is_integer = false;
        *scan->out++ = 'E';
        const char *sign = scan->at;
        *scan->out++ = accept(scan, "+-") ? *sign : '+';
        if (!scan_digits(scan, 10, false, true)) {
            return false;
        }
    }
    return true;
}

/* The int64_t these digits without sign make, if they do. */
static bool to_int64(
    const char *digits, const char *end, unsigned base, bool is_negative, int64_t *ret)
{
    uint64_t limit = (uint64_t)INT64_MAX + is_negative;
    uint64_t n = 0;
    for (; digits < end; digits++) {
        unsigned digit = kdl_digit(*digits);
        if (n > (limit - digit) / base) {
            return false;
        }
        n = n * base + digit;
    }
    *ret = is_negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

/* Prints the digits of `base` as decimal to `out`, which has room for it. Returns its end. */
static char *to_decimal(const char *digits, const char *end, unsigned base, char *out)
{
    /* A digit of base 16 is 1.21 decimal ones. */
    size_t room = (size_t)(end - digits) * 5 / 4 / DECIMAL_LIMB_DIGITS + 1;
    cleanup_free uint32_t *limbs = mem_calloc(room, sizeof(*limbs)); /* the lowest first */
    size_t n = 1;
    while (digits < end) {
        uint64_t factor = 1;
        uint64_t carry = 0;
        for (; digits < end && factor * base <= UINT32_MAX; digits++) {
            factor *= base;
            carry = carry * base + kdl_digit(*digits);
        }
        for (size_t i = 0; i < n; i++) {
            carry += limbs[i] * factor;
            limbs[i] = (uint32_t)(carry % DECIMAL_LIMB);
            carry /= DECIMAL_LIMB;
        }
        for (; carry > 0; carry /= DECIMAL_LIMB) {
            limbs[n++] = (uint32_t)(carry % DECIMAL_LIMB);
        }
    }
    out += snprintf(out, sizeof("4294967295"), "%u", limbs[n - 1]);
    while (n-- > 1) {
        out += snprintf(out, sizeof("999999999"), "%09u", limbs[n - 1]);
    }
    return out;
}

static unsigned scan_base(struct scan *scan)
{
    static const char prefixes[] = "xob";
    static const unsigned bases[] = {16, 8, 2};
    const char *p = scan->at;
    if (scan->end - p < 2 || p[0] != '0') {
        return 10;
    }
    const char *prefix = p[1] ? strchr(prefixes, p[1]) : NULL;
    if (!prefix) {
        return 10;
    }
    scan->at += 2;
    return bases[prefix - prefixes];
}

static bool fail_number(const struct kdl_reader *reader, const struct kdl_token *token)
{
    char excerpt[KDL_EXCERPT_SIZE];
    kdl_excerpt(excerpt, token->text, token->text + token->length);
    bool is_signed = *token->text == '+' || *token->text == '-';
    if (token->text[is_signed] == '.') {
        return kdl_fail(reader->error, token->pos,
            "'%s' is not a number: a digit must precede the '.' (a name like this needs "
            "quotes)",
            excerpt);
    }
    return kdl_fail(reader->error, token->pos,
        "'%s' is not a number (a name or text that begins like one needs quotes)", excerpt);
}

/* Sign and digits of an integer; `digits` up to `end` are canonical in `base`. */
static char *print_integer(const struct kdl_reader *reader, unsigned base, bool is_negative,
    const char *digits, const char *end)
{
    size_t n = (size_t)(end - digits);
    char *number = kdl_arena_text(reader->arena, n + n / 4 + DECIMAL_LIMB_DIGITS + 5);
    char *out = number;
    bool is_zero = n == 1 && *digits == '0';
    if (is_negative && !is_zero) {
        *out++ = '-';
    }
    if (base != 10 && reader->version == KDL_V2) {
        out = to_decimal(digits, end, base, out);
    } else {
        if (base != 10) {
            *out++ = '0';
            *out++ = base == 16 ? 'x' : base == 8 ? 'o' : 'b';
        }
        out = mempcpy(out, digits, n);
    }
    *out = '\0';
    return number;
}

bool kdl_read_number(
    const struct kdl_reader *reader, const struct kdl_token *token, struct kdl_value *ret)
{
    /* The sign of an exponent may be new: one more than the source, and the NUL. */
    char *text = kdl_arena_text(reader->arena, token->length + 3);
    struct scan scan = {.at = token->text, .end = token->text + token->length, .out = text};
    bool is_negative = *scan.at == '-';
    (void)accept(&scan, "+-");
    *scan.out = '-';
    scan.out += is_negative;
    const char *digits = scan.out;
    unsigned base = scan_base(&scan);
    bool is_whole = true;
    bool is_number = base == 10 ? scan_decimal(&scan, reader->version, &is_whole)
                                : scan_digits(&scan, base, false, true);
    if (!is_number || scan.at != scan.end) {
        return fail_number(reader, token);
    }
    *ret = (struct kdl_value){.kind = KDL_NUMBER, .number = text};
    *scan.out = '\0';
    if (!is_whole) {
        return true;
    }
    if (base != 10 && scan.out - digits > MAX_DIGITS) {
        return kdl_fail(reader->error, token->pos,
            "a number that is not decimal may have %d digits", MAX_DIGITS);
    }
    ret->is_integer = to_int64(digits, scan.out, base, is_negative, &ret->integer);
    ret->number = print_integer(reader, base, is_negative, digits, scan.out);
    return true;
}
