/* SPDX-License-Identifier: MPL-2.0 */
/* Columns, each as wide as its widest cell so far. Cells hold no control characters; a character
 * counts as one column. */
#pragma once

#include <stddef.h>

struct buf;

struct table {
    size_t n_columns;
    char **cells; /* row by row; owned */
    size_t count;
    size_t *widths; /* of the columns, owned */
};

void table_init(struct table *table, size_t n_columns);
void table_clear(struct table *table);
void table_add(struct table *table, const char *text); /* the next cell; copied */
void table_add_number(struct table *table, unsigned long long number);

/* The column (from 0) is at least so wide: for rows that are to come. */
void table_widen(struct table *table, size_t column, size_t width);

/* Drops the rows and keeps the widths: later rows align with those printed before. */
void table_empty(struct table *table);

/* Appends the rows; the last column is not padded. */
void table_print(struct table *table, struct buf *out);
