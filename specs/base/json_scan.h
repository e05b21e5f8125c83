/* SPDX-License-Identifier: MPL-2.0 */
/*
 * JSON text (RFC 8259) read value by value, without a tree: as strict as jansson is, so that a text
 * is valid for both or for neither. Only a number that no double holds is valid here alone.
 *
 * The first problem ends the text: from then on there is nothing left to read, so that a caller
 * checks `problem` once, at the end. A caller reads exactly one value, or skips it, wherever there
 * is one:
 *
 *   for (bool more = json_scan_open(scan, '}'); more; more = json_scan_more(scan, '}')) {
 *       struct bytes key = json_scan_key(scan);
 *       ...
 *   }
 */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/text.h"

/* How many of the bytes are ASCII that stands for itself in a string, eight at a time: a byte of
 * `ends` has its highest bit if the text's is a quote, a backslash, a control character or not
 * ASCII. Above the first such byte the bits mean nothing; and of the last bytes, fewer than eight,
 * none is counted. */
static inline size_t json_count_plain(const char *p, const char *end)
{
    static const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    size_t n = 0;
    for (uint64_t word, ends = 0; (size_t)(end - p) - n >= sizeof(word); n += sizeof(word)) {
        memcpy(&word, p + n, sizeof(word));
        word = le64toh(word);
        uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
        ends = ((word - ones * ' ') | (quote - ones) | (backslash - ones) | word) & highs;
        if (ends) {
            return n + (size_t)__builtin_ctzll(ends) / 8;
        }
    }
    return n;
}

struct json_scan {
    const char *begin, *at, *end;
    const char *problem; /* static text; NULL: none so far */
    size_t problem_at;   /* byte */
    struct buf text;     /* of the last string that had escapes */
    unsigned depth;
};

void json_scan_init(struct json_scan *scan, struct bytes json);
void json_scan_clear(struct json_scan *scan);

/* The first byte of the next value, or the punctuation there; 0 at the end. */
static inline char json_scan_peek(struct json_scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r')) {
        scan->at++;
    }
    return scan->at < scan->end ? *scan->at : '\0';
}

/* Enters an object or array, whose first byte was peeked at, and leaves it behind the last item.
 * `close` is '}' or ']'. */
bool json_scan_open(struct json_scan *scan, char close);
bool json_scan_more(struct json_scan *scan, char close);
/* The key of a member, and a string: borrowed until the next of them. */
struct bytes json_scan_key(struct json_scan *scan);
struct bytes json_scan_string(struct json_scan *scan);

/* A number; false when it is not an integer. One that int64_t does not hold is a problem. */
bool json_scan_integer(struct json_scan *scan, int64_t *ret);

/* A value of any kind: its text, borrowed from the whole. */
struct bytes json_scan_skip(struct json_scan *scan);

/* Behind the last value: whatever follows is a problem. */
void json_scan_end(struct json_scan *scan);
