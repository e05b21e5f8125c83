/* SPDX-License-Identifier: MPL-2.0 */
/* Columns, each as wide as its widest cell so far. Control characters of a cell are shown as \xNN,
 * but for the colours of table_add_colored(); a character counts as one column. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;

enum { TABLE_NARROW = 80 }; /* less is a narrow terminal */

struct table {
    size_t n_columns;
    char **cells; /* row by row; owned */
    size_t count;
    size_t *widths; /* of the columns, owned */
    bool use_color;
    bool holds_paths; /* the last column: of one the middle is left out, its end says most */
    size_t limit;     /* columns of the terminal that the rows are to fit; 0: none */
    /* Columns that a narrow terminal (TABLE_NARROW) goes without, the first of them first, where
     * the rows do not fit; not the last one of all. */
    const size_t *spare;
    size_t n_spare;
};

void table_init(struct table *table, size_t n_columns);
/* The same, with a first row of titles, one a column. */
void table_begin(struct table *table, const char *const *titles, size_t n_columns);
void table_clear(struct table *table);
void table_add(struct table *table, const char *text); /* the next cell; copied */
/* `color` is an escape sequence, used if the table is coloured; "": none. */
void table_add_colored(struct table *table, const char *color, const char *text);
void table_add_number(struct table *table, unsigned long long number);

/* The column (from 0) is at least so wide: for rows that are to come. */
void table_widen(struct table *table, size_t column, size_t width);

/* Drops the rows and keeps the widths: later rows align with those printed before. */
void table_empty(struct table *table);

/* `limit` becomes the width of the terminal, if stdout is one. */
void table_fit_terminal(struct table *table);

/*
 * Appends the rows; the last column is not padded. When they are wider than the limit, the gaps
 * become narrower, columns that can be spared go, and the last column is cut; where it would have
 * hardly any room, its cells come below their rows, without the title in the first.
 */
void table_print(struct table *table, struct buf *out);

/* Appends what fits of a path, without its middle: "/home/…/debian.qcow2". Pure. */
void table_add_cut_path(struct buf *out, const char *path, size_t max);

/* Prints text of several lines to stdout; where that is a terminal, a line that is wider is broken
 * at a blank, and continued behind four. */
void table_print_folded(const char *text);
