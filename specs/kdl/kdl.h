/* SPDX-License-Identifier: MPL-2.0 */
/*
 * KDL documents: parse, walk, print. Version 2 of the KDL specification (https://kdl.dev), with
 * version 1 as a fallback; both pass the official test-suites, of 2.0.0 with its later
 * corrections and of 1.0.0.
 *
 * Pure: text in, tree out. Every error names line and column. A document is bounded in bytes, depth
 * and nodes (struct kdl_limits), so no input can exhaust the stack or the memory; time grows with
 * the size of the text.
 *
 * Two things KDL allows are refused: U+0000 (as an escape) in a name or type, which are C strings
 * here, and a hexadecimal, octal or binary number of more than 4096 digits.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct error;

enum kdl_version {
    KDL_AUTO, /* a `/- kdl-version N` marker decides; else v2, and v1 when v2 does not parse */
    KDL_V1,
    KDL_V2,
};

enum kdl_kind { KDL_NULL, KDL_BOOL, KDL_NUMBER, KDL_STRING };

/* A position in the source: both from 1, the column counted in code points. */
struct kdl_pos {
    uint32_t line;
    uint32_t column;
    uint32_t length; /* of the token on that line, in code points, for the caret; at least 1 */
    uint32_t source; /* 0; of several documents that were put together: which one */
};

struct kdl_value {
    char *type; /* "(type)" annotation, or NULL */
    enum kdl_kind kind;
    bool boolean;
    char *string;    /* KDL_STRING: UTF-8, NUL-terminated; may hold NULs within `length` */
    size_t length;   /* bytes of `string` */
    char *number;    /* KDL_NUMBER: canonical text as the official test-suite prints it; so
                        decimal or "#inf" "#-inf" "#nan", but version 1 keeps "0x1f" "0o7" "0b1" */
    bool is_integer; /* KDL_NUMBER that fits int64_t; then `integer` holds it */
    int64_t integer;
    struct kdl_pos pos; /* of the value itself, behind its annotation */
};

/* An argument when `name` is NULL, else a property. In source order, duplicates kept (the last
 * property of a name counts: kdl_property()). */
struct kdl_entry {
    char *name;
    struct kdl_value value;
    struct kdl_pos pos; /* of the name, of an argument the value's */
};

struct kdl_node {
    char *type; /* annotation, or NULL */
    char *name;
    struct kdl_entry *entries;
    size_t n_entries;
    struct kdl_node *children;
    size_t n_children;
    bool has_children_block;
    struct kdl_pos pos; /* of the name */
};

/* Owns all its nodes, entries and strings. */
struct kdl_document {
    enum kdl_version version; /* the one it parsed as */
    struct kdl_node *nodes;
    size_t n_nodes;
};

struct kdl_limits {
    size_t max_bytes; /* 0: 4 MiB */
    size_t max_depth; /* 0: 128 nested blocks, also of nested comments */
    size_t max_nodes; /* 0: 200 000 nodes and entries together, also of slashdashed ones */
};

/* An error and its position. `message` is a sentence without period, fit for a terminal. */
struct kdl_error {
    struct kdl_pos pos;
    char message[160];
};

/*
 * Parses `text` (`size` bytes, UTF-8 with or without a byte order mark). Returns 0 and *ret
 * (kdl_document_free() it), or -1 and *ret_error. With KDL_AUTO the error is version 2's,
 * unless the text carries a version 1 marker.
 */
int kdl_parse(const char *text, size_t size, enum kdl_version version,
    const struct kdl_limits *limits, struct kdl_document **ret, struct kdl_error *ret_error);

void kdl_document_free(struct kdl_document *doc); /* NULL is fine */

/* The value of argument `index` (from 0), of the last property called `name`; NULL when absent. */
const struct kdl_value *kdl_argument(const struct kdl_node *node, size_t index);
const struct kdl_value *kdl_property(const struct kdl_node *node, const char *name);

/* Appends the document in the canonical form of the official test-suite's expected_kdl/ files
 * (version 2 syntax when doc->version is KDL_V2, version 1 syntax when KDL_V1). */
void kdl_print(struct buf *out, const struct kdl_document *doc);

/* Appends the text as a string of version 2 on one line, in quotes. */
void kdl_print_string(struct buf *out, const char *text, size_t size);
