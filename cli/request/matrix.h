/* SPDX-License-Identifier: MPL-2.0 */
/* `--matrix NAME=VALUE,VALUE`: every combination of the values of all of them, as of --set. */
#pragma once

#include <stddef.h>

#include "cli/args.h"
#include "specs/base/buf.h"
#include "specs/base/strings.h"

struct error;

struct matrix {
    struct matrix_axis {
        char *name;
        struct strings values; /* one at least */
    } * axes;
    size_t n;
};

enum { MATRIX_MAX = 256 }; /* combinations */

/* -ERR_USAGE; matrix_clear() in any case. */
int matrix_parse(const struct arg_strings *options, struct matrix *ret, struct error *err);
void matrix_clear(struct matrix *matrix);

/* Combinations; 1, an empty one, without an option. */
size_t matrix_count(const struct matrix *matrix);
/* Appends NAME=VALUE of each axis of a combination; the values of the last one change first. */
void matrix_choose(const struct matrix *matrix, size_t index, struct strings *ret);
