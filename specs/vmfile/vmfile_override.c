/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A further VMFile on the command line: what it says of a VM counts more than what those before it
 * say. Nodes that mean the same, a `vm`, `template` or `var` of one name, or the `defaults`, become
 * one: of a field of one value the later counts, of fields that may repeat all do, the earlier ones
 * first. What comes of it is read as one VMFile.
 */
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/vmfile_reader.h"

/* `image` and `image-url` are two ways to give one field. */
static bool is_field(const char *name, const char *other)
{
    return name && (text_eq(name, other) ||
                       (text_starts_with(name, "image") && text_starts_with(other, "image")));
}

bool vmfile_has_field(const struct kdl_node *node, const char *name)
{
    bool has_it = false;
    for (size_t i = 0; i < node->n_entries; i++) {
        has_it |= is_field(node->entries[i].name, name);
    }
    for (size_t i = 0; i < node->n_children; i++) {
        has_it |= is_field(node->children[i].name, name);
    }
    return has_it;
}

static bool is_overridden(const struct kdl_node *over, const char *name)
{
    return vmfile_has_field(over, name) && !vmfile_vm_field_adds_up(name);
}

static bool means_same(const struct kdl_node *node, const struct kdl_node *other)
{
    static const char *const named[] = {"vm", "template", "var"};
    const struct kdl_value *name = kdl_argument(node, 0), *other_name = kdl_argument(other, 0);
    if (!text_eq(node->name, other->name)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (text_eq(node->name, named[i])) {
            return name && other_name && name->string && other_name->string &&
                   name->length == other_name->length &&
                   memcmp(name->string, other_name->string, name->length) == 0;
        }
    }
    return text_eq(node->name, "defaults");
}

/* The entries of both; of the later node the name is left out: it is the earlier one's. What has no
 * place in it stays, and is reported. */
static void merge_entries(
    struct kdl_arena *memory, struct kdl_node *node, const struct kdl_node *over)
{
    size_t n = 0;
    bool has_name = !text_eq(node->name, "defaults");
    cleanup_free struct kdl_entry *entries =
        mem_calloc(node->n_entries + over->n_entries + 1, sizeof(*entries));
    for (size_t i = 0; i < node->n_entries; i++) {
        const char *name = node->entries[i].name;
        if (!name || !is_overridden(over, name)) {
            entries[n++] = node->entries[i];
        }
    }
    for (size_t i = 0; i < over->n_entries; i++) {
        if (has_name && !over->entries[i].name) {
            has_name = false;
        } else {
            entries[n++] = over->entries[i];
        }
    }
    node->entries = kdl_arena_dup(memory, entries, (n + 1) * sizeof(*entries));
    node->n_entries = n;
}

static void merge(struct kdl_arena *memory, struct kdl_node *node, const struct kdl_node *over)
{
    size_t n = 0;
    cleanup_free struct kdl_node *children =
        mem_calloc(node->n_children + over->n_children + 1, sizeof(*children));
    for (size_t i = 0; i < node->n_children; i++) {
        if (!is_overridden(over, node->children[i].name)) {
            children[n++] = node->children[i];
        }
    }
    for (size_t i = 0; i < over->n_children; i++) {
        children[n++] = over->children[i];
    }
    merge_entries(memory, node, over);
    node->type = node->type ? node->type : over->type;
    node->children = kdl_arena_dup(memory, children, (n + 1) * sizeof(*children));
    node->n_children = n;
    node->has_children_block |= over->has_children_block;
}

/* A node of the override goes once into one before it: what occurs a second time in one file is an
 * error there. */
void vmfile_take_override(struct vmfile_documents *documents, size_t n_before)
{
    struct kdl_document *whole = &documents->whole;
    cleanup_free bool *is_taken = mem_calloc(n_before + 1, sizeof(*is_taken));
    size_t n = n_before;
    for (size_t i = n_before; i < whole->n_nodes; i++) {
        size_t at = 0;
        while (
            at < n_before && (is_taken[at] || !means_same(&whole->nodes[at], &whole->nodes[i]))) {
            at++;
        }
        if (at < n_before) {
            merge(&documents->memory, &whole->nodes[at], &whole->nodes[i]);
            is_taken[at] = true;
        } else {
            whole->nodes[n++] = whole->nodes[i];
        }
    }
    whole->n_nodes = n;
}
