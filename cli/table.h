/* SPDX-License-Identifier: MPL-2.0 */
/* Columns, each as wide as its widest cell. Cells hold no control characters; a character counts as
 * one column. */
#pragma once

#include <stddef.h>

struct buf;

struct table {
    size_t n_columns;
    char **cells; /* row by row; owned */
    size_t count;
};

void table_init(struct table *table, size_t n_columns);
void table_clear(struct table *table);
void table_add(struct table *table, const char *text); /* the next cell; copied */
void table_add_number(struct table *table, unsigned long long number);

/* Appends the rows; the last column is not padded. */
void table_print(const struct table *table, struct buf *out);
