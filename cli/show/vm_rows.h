/* SPDX-License-Identifier: MPL-2.0 */
/* The rows that `list` and `get` print, one a VM, and the VMs as objects. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/vm/vm_summary.h"

struct buf;
struct cli;
struct table;
struct vm_list;
struct vm_record;
struct vm_spec;
struct vm_summary;

/* What a row is made of. The texts are borrowed from what it was made of. */
struct vm_row {
    const char *name;
    bool has_desired;
    bool is_damaged;
    bool is_deleted; /* it was there before */
    struct desired_summary desired;
    struct status_summary status;
    const struct vm_spec *spec; /* of a whole record; NULL: it is not known */
    bool shows_labels;          /* in all rows of a table, or in none */
    const char *project;        /* likewise: "-" of one that is of none; NULL: no column */
    const char *vnc;            /* of the wide rows; NULL: none */
    const char *node;   /* of `list -A`, in all rows of its table; NULL in all of any other */
    int64_t asked_ms;   /* wall: when that node said so; 0: now */
    const char *moving; /* "Moving to c 62 %"; NULL: it does not, or it is not known here */
    const char *lost;   /* the state word it had then, as the node does not answer; NULL: it does */
};

struct vm_row vm_row_of_record(const struct vm_record *record);
struct vm_row vm_row_of_summary(const struct vm_summary *summary);

/* The STATE column's word. Static text. */
const char *vm_row_state(const struct vm_row *row);

/* How its state is to be taken. */
enum vm_tone vm_row_tone(const struct vm_row *row);

/* What `list --failed` keeps. */
bool vm_row_has_failed(const struct vm_row *row);

/* Whether there is something for the CAUSE column. */
bool vm_row_has_cause(const struct vm_row *row);

/* Escape sequences by enum vm_tone; "": as all other text. */
extern const char *const vm_tone_colors[];

/* table_init(), and the titles; with a column for causes if one of the rows has any. The same
 * `is_wide` for all of a table. */
void vm_rows_begin(const struct cli *cli, struct table *table, bool is_wide, bool has_causes);
/* Room for the values of VMs that do not run yet: a table that grows stays aligned. */
void vm_rows_make_room(struct table *table);
/* "env=prod,tier=web"; "-" where there are none, "?" of NULL. */
void vm_rows_add_labels(struct buf *out, const struct vm_spec *spec);
/* The cause also shows when a crash loop tries again; now: wall clock. */
void vm_rows_add(struct table *table, const struct vm_row *row, bool is_wide, int64_t now_ms);

/* The VMs of a list of whatever kind, as rows that are made one at a time: all of them at once cost
 * more memory than the table. */
struct vm_row_source {
    const void *list;
    size_t count;
    struct vm_row (*at)(const void *list, size_t i);
    const bool *chosen;  /* those that are meant; NULL: all */
    bool has_nodes;      /* its rows have a `node` */
    bool has_labels;     /* there is a column for them */
    bool has_projects;   /* there is one, if a VM of a project is printed; always in wide tables */
    const char *project; /* whose VMs are shown by their plain names; NULL: none is */
};

/* The whole table on stdout, wide with -o wide, no wider than a terminal; of any source, of
 * records.
 */
void vm_rows_print(const struct cli *cli, const struct vm_row_source *source);
struct vm_row vm_rows_at_record(const void *vm_list, size_t i);
/* By name, and numbers in names by their value: w-2 before w-10. */
void vm_rows_sort_records(struct vm_list *list);
int vm_rows_compare_names(const char *a, const char *b);

/* As the table has it. Borrowed. */
const char *vm_rows_name(const struct vm_row_source *source, const char *name);

void vm_rows_print_records(const struct cli *cli, const struct vm_list *list);

/* The same for programs: an array, or the first one alone. */
void vm_rows_print_data(
    const struct cli *cli, const struct vm_list *list, const bool *chosen, bool is_one);
/* Appends what it prints with -o json. */
void vm_rows_add_json(struct buf *out, const struct vm_list *list, const bool *chosen, bool is_one);
