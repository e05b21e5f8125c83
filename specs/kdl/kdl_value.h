/* SPDX-License-Identifier: MPL-2.0 */
/* What a token means. Functions that return false stored an error; the first ends the parse. */
#pragma once

#include <stdbool.h>

#include "specs/kdl/kdl.h"
#include "specs/kdl/kdl_arena.h"
#include "specs/kdl/kdl_token.h"

struct kdl_reader {
    enum kdl_version version; /* KDL_V1 or KDL_V2 */
    struct kdl_arena *arena;  /* owns the values */
    struct kdl_error *error;
};

/* A KDL_TOKEN_STRING. */
bool kdl_read_string(
    const struct kdl_reader *reader, const struct kdl_token *token, struct kdl_value *ret);

/* A KDL_TOKEN_WORD that kdl_looks_numeric(). */
bool kdl_read_number(
    const struct kdl_reader *reader, const struct kdl_token *token, struct kdl_value *ret);
