/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The scanner: cuts a KDL text into tokens and leaves out white space only. The parser drops the
 * comments, the formatter keeps them.
 *
 * It never fails: a character that begins no token is one of kind KDL_TOKEN_STRAY, and a string or
 * comment without end reaches to the end of the text. The meaning of a word or string is checked
 * when its value is read (kdl_value.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/kdl/kdl.h"

enum kdl_token_kind {
    KDL_TOKEN_END,
    KDL_TOKEN_NEWLINE,
    KDL_TOKEN_SEMICOLON,
    KDL_TOKEN_WORD,   /* a name, number or keyword */
    KDL_TOKEN_STRING, /* with its quotes and hashes */
    KDL_TOKEN_EQUALS,
    KDL_TOKEN_TYPE_OPEN,  /* ( */
    KDL_TOKEN_TYPE_CLOSE, /* ) */
    KDL_TOKEN_BLOCK_OPEN,
    KDL_TOKEN_BLOCK_CLOSE,
    KDL_TOKEN_SLASHDASH,
    KDL_TOKEN_CONTINUATION,  /* the backslash alone: its comment and newline follow as tokens */
    KDL_TOKEN_LINE_COMMENT,  /* without the newline, nor the white space before that */
    KDL_TOKEN_BLOCK_COMMENT, /* with all it nests */
    KDL_TOKEN_STRAY,
};

struct kdl_token {
    enum kdl_token_kind kind;
    const char *text; /* in the source */
    size_t length;
    struct kdl_pos pos;
    bool is_spaced; /* white space comes before it */

    bool is_closed; /* of block comments */

    /* of strings */
    bool is_raw;
    size_t hashes;
    size_t quotes;        /* on either side: 3 of a string of several lines, else 1 */
    const char *body;     /* between the quotes; */
    const char *body_end; /* NULL: the closing quotes are missing */
};

struct kdl_scanner {
    const char *at;
    const char *end;
    enum kdl_version version; /* KDL_V1 or KDL_V2 */
    size_t
        max_depth; /* a comment ends before the one that nests deeper; scanning cannot continue */
    struct kdl_pos pos; /* of `at`; its length is 1 */
};

struct kdl_scanner kdl_scan(const char *text, const char *end, enum kdl_version version);
struct kdl_token kdl_next_token(struct kdl_scanner *scanner);

/* --- errors --- */

/* The position of `to`, when `from` is at `pos`; its length is 1. */
struct kdl_pos kdl_pos_after(
    struct kdl_pos pos, const char *from, const char *to, enum kdl_version version);

/* Stores the error. Always false. */
bool kdl_fail(struct kdl_error *error, struct kdl_pos pos, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The start of a text, made fit for a message. */
#define KDL_EXCERPT_SIZE 48
const char *kdl_excerpt(char out[KDL_EXCERPT_SIZE], const char *p, const char *end);
