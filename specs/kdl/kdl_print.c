/* SPDX-License-Identifier: MPL-2.0 */
/* Canonical text: the "Translation Rules" of the official test-suite. Nothing recurses. */
#include "specs/kdl/kdl.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/kdl/kdl_chars.h"

enum { INDENT = 4 };

/* Siblings being printed. */
struct level {
    const struct kdl_node *nodes;
    size_t count;
    size_t next;
};

/* The letter that escapes `c`, 0 when there is none. */
static char escape_letter(char c, enum kdl_version version)
{
    static const char escaped[] = "\n\r\t\b\f\"\\";
    static const char letters[] = "nrtbf\"\\";
    if (c == '/') {
        return version == KDL_V1 ? '/' : 0;
    }
    const char *found = c ? strchr(escaped, c) : NULL;
    return found ? letters[found - escaped] : 0;
}

static void print_quoted(struct buf *out, const char *s, size_t size, enum kdl_version version)
{
    const char *end = s + size;
    const char *run = s;
    size_t bytes;
    buf_add_char(out, '"');
    for (const char *p = s; p < end; p += bytes) {
        uint32_t code_point = kdl_decode(p, &bytes);
        char letter = escape_letter(*p, version);
        /* A code point that a document forbids, or a newline, is written as "\u{...}". */
        bool needs_code = kdl_is_forbidden(code_point) || kdl_newline_at(p, end, KDL_V2) > 0;
        if (!letter && !needs_code) {
            continue;
        }
        buf_add(out, run, (size_t)(p - run));
        run = p + bytes;
        if (letter) {
            buf_add(out, (const char[]){'\\', letter}, 2);
        } else {
            buf_printf(out, "\\u{%x}", (unsigned)code_point);
        }
    }
    buf_add(out, run, (size_t)(end - run));
    buf_add_char(out, '"');
}

static void print_text(struct buf *out, const char *s, size_t size, enum kdl_version version)
{
    if (kdl_is_bare(s, size, version)) {
        buf_add(out, s, size);
    } else {
        print_quoted(out, s, size, version);
    }
}

void kdl_print_string(struct buf *out, const char *text, size_t size)
{
    print_quoted(out, text, size, KDL_V2);
}

static void print_type(struct buf *out, const char *type, enum kdl_version version)
{
    if (type) {
        buf_add_char(out, '(');
        print_text(out, type, strlen(type), version);
        buf_add_char(out, ')');
    }
}

static void print_value(struct buf *out, const struct kdl_value *value, enum kdl_version version)
{
    print_type(out, value->type, version);
    if (value->kind == KDL_NUMBER) {
        buf_add_str(out, value->number);
    } else if (value->kind != KDL_STRING) {
        const char *word = value->kind == KDL_NULL ? "#null" : value->boolean ? "#true" : "#false";
        buf_add_str(out, word + (version == KDL_V1));
    } else if (version == KDL_V1) {
        print_quoted(out, value->string, value->length, version);
    } else {
        print_text(out, value->string, value->length, version);
    }
}

/* By name; of the same name in source order, which is the order in memory. */
static int compare_properties(const void *a, const void *b)
{
    const struct kdl_entry *x = *(const struct kdl_entry *const *)a;
    const struct kdl_entry *y = *(const struct kdl_entry *const *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x > y) - (x < y);
}

static void print_properties(
    struct buf *out, const struct kdl_node *node, size_t count, enum kdl_version version)
{
    cleanup_free const struct kdl_entry **sorted = mem_calloc(count, sizeof(*sorted));
    size_t n = 0;
    for (size_t i = 0; i < node->n_entries; i++) {
        if (node->entries[i].name) {
            sorted[n++] = &node->entries[i];
        }
    }
    qsort(sorted, n, sizeof(*sorted), compare_properties);
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && strcmp(sorted[i]->name, sorted[i + 1]->name) == 0) {
            continue; /* the last of a name counts */
        }
        buf_add_char(out, ' ');
        print_text(out, sorted[i]->name, strlen(sorted[i]->name), version);
        buf_add_char(out, '=');
        print_value(out, &sorted[i]->value, version);
    }
}

/* The node without its children. */
static void print_head(struct buf *out, const struct kdl_node *node, enum kdl_version version)
{
    size_t properties = 0;
    print_type(out, node->type, version);
    print_text(out, node->name, strlen(node->name), version);
    for (size_t i = 0; i < node->n_entries; i++) {
        if (node->entries[i].name) {
            properties++;
        } else {
            buf_add_char(out, ' ');
            print_value(out, &node->entries[i].value, version);
        }
    }
    if (properties > 0) {
        print_properties(out, node, properties, version);
    }
}

void kdl_print(struct buf *out, const struct kdl_document *doc)
{
    size_t depth = 0; /* of the open level */
    cleanup_free struct level *levels = mem_calloc(1, sizeof(*levels));
    levels[0] = (struct level){.nodes = doc->nodes, .count = doc->n_nodes};
    if (doc->n_nodes == 0) {
        buf_add_char(out, '\n');
    }
    for (;;) {
        struct level *level = &levels[depth];
        if (level->next == level->count) {
            if (depth-- == 0) {
                return;
            }
            buf_printf(out, "%*s", INDENT * (int)depth, "");
            buf_add_str(out, "}\n");
            continue;
        }
        const struct kdl_node *node = &level->nodes[level->next++];
        buf_printf(out, "%*s", INDENT * (int)depth, "");
        print_head(out, node, doc->version);
        /* The suite of version 1 keeps a block that is empty, the one of version 2 does not. */
        if (node->n_children > 0 || (node->has_children_block && doc->version == KDL_V1)) {
            buf_add_str(out, " {");
            depth++;
            levels = mem_resize(levels, depth + 1, sizeof(*levels));
            levels[depth] = (struct level){.nodes = node->children, .count = node->n_children};
        }
        buf_add_char(out, '\n');
    }
}
