/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A KDL text cut into tokens with nothing left out but white space: what a formatter needs and the
 * parser drops. Only for text that has been parsed, as it was parsed: what is wrong is not told.
 */
#pragma once

#include <stddef.h>

#include "specs/kdl/kdl.h"

enum kdl_token_kind {
    KDL_TOKEN_END,
    KDL_TOKEN_NEWLINE,
    KDL_TOKEN_SEMICOLON,
    KDL_TOKEN_WORD, /* a name, a number, a keyword, a string of any kind with its quotes */
    KDL_TOKEN_EQUALS,
    KDL_TOKEN_TYPE_OPEN,  /* ( */
    KDL_TOKEN_TYPE_CLOSE, /* ) */
    KDL_TOKEN_BLOCK_OPEN,
    KDL_TOKEN_BLOCK_CLOSE,
    KDL_TOKEN_SLASHDASH,
    KDL_TOKEN_CONTINUATION,  /* the backslash alone: its comment and newline follow as tokens */
    KDL_TOKEN_LINE_COMMENT,  /* without the newline, nor the white space before that */
    KDL_TOKEN_BLOCK_COMMENT, /* with all it nests */
};

struct kdl_token {
    enum kdl_token_kind kind;
    const char *text; /* in the source */
    size_t length;
};

struct kdl_scanner {
    const char *at;
    const char *end;
    enum kdl_version version; /* KDL_V1 or KDL_V2 */
};

struct kdl_token kdl_next_token(struct kdl_scanner *scanner);
