/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Nodes, entries and blocks. Nothing recurses: open blocks are on a stack of their own. Finished
 * nodes lie on another until their block closes and they move into the document's memory in one
 * piece.
 */
#include "specs/kdl/kdl_internal.h"

#include <string.h>

#include "specs/base/mem.h"

/* The node being read: the last of parser->nodes. */
struct open_node {
    bool is_dropped;   /* slashdashed */
    bool has_children; /* a block that counts */
    bool has_block;    /* a block, perhaps slashdashed: no entries follow */
};

static bool count_one(struct kdl_parser *parser)
{
    if (parser->n_counted++ < parser->limits.max_nodes) {
        return true;
    }
    return kdl_fail(
        parser, kdl_here(parser), "more than %zu nodes and values", parser->limits.max_nodes);
}

/* Room for the next entry, empty. It counts once n_entries is raised. */
static struct kdl_entry *next_entry(struct kdl_parser *parser)
{
    if (parser->n_entries == parser->entries_size) {
        parser->entries_size = parser->entries_size ? parser->entries_size * 2 : 16;
        parser->entries =
            mem_resize(parser->entries, parser->entries_size, sizeof(*parser->entries));
    }
    struct kdl_entry *entry = &parser->entries[parser->n_entries];
    entry->name = NULL;
    return entry;
}

static void push_node(struct kdl_parser *parser, const struct kdl_node *node)
{
    if (parser->n_nodes == parser->nodes_size) {
        parser->nodes_size = parser->nodes_size ? parser->nodes_size * 2 : 16;
        parser->nodes = mem_resize(parser->nodes, parser->nodes_size, sizeof(*parser->nodes));
    }
    parser->nodes[parser->n_nodes++] = *node;
}

static void push_block(struct kdl_parser *parser, const struct kdl_block *block)
{
    if (parser->n_blocks == parser->blocks_size) {
        parser->blocks_size = parser->blocks_size ? parser->blocks_size * 2 : 16;
        parser->blocks = mem_resize(parser->blocks, parser->blocks_size, sizeof(*parser->blocks));
    }
    parser->blocks[parser->n_blocks++] = *block;
}

/* Takes the nodes from `first` on off the stack, for good. */
static struct kdl_node *take_nodes(struct kdl_parser *parser, size_t first, size_t *ret_count)
{
    *ret_count = parser->n_nodes - first;
    parser->n_nodes = first;
    if (*ret_count == 0) {
        return NULL;
    }
    return kdl_arena_dup(parser->arena, parser->nodes + first, *ret_count * sizeof(*parser->nodes));
}

/* --- entries --- */

static bool fail_unquoted(struct kdl_parser *parser, const struct kdl_value *value)
{
    char excerpt[KDL_EXCERPT_SIZE];
    return kdl_fail(parser, value->pos, "'%s' needs quotes: KDL 1 has no bare text values",
        kdl_excerpt(excerpt, value->string, value->string + value->length));
}

/* The value behind the '=' at parser->at. */
static bool read_property_value(struct kdl_parser *parser, struct kdl_value *ret)
{
    char *type;
    bool is_bare;
    parser->at++;
    if ((parser->version == KDL_V2 && kdl_skip_node_space(parser) < 0) ||
        !kdl_read_type(parser, &type) ||
        !kdl_read_scalar(parser, "a value after the '='", ret, &is_bare)) {
        return false;
    }
    ret->type = type;
    return !is_bare || parser->version == KDL_V2 || fail_unquoted(parser, ret);
}

/* Makes the string just read, at a '=', the name of a property and reads its value. */
static bool read_property(struct kdl_parser *parser, struct kdl_entry *entry)
{
    if (entry->value.type) {
        return kdl_fail(parser, entry->pos,
            "a type annotation stands before the value of a property, not before its name");
    }
    if (!kdl_check_name(parser, "a property name", &entry->value)) {
        return false;
    }
    entry->name = entry->value.string;
    return read_property_value(parser, &entry->value);
}

/* *ret_spaced: white space was skipped behind the entry. */
static bool read_entry(struct kdl_parser *parser, struct kdl_entry *entry, bool *ret_spaced)
{
    char *type;
    bool is_bare;
    if (!count_one(parser) || !kdl_read_type(parser, &type) ||
        !kdl_read_scalar(parser, "a value", &entry->value, &is_bare)) {
        return false;
    }
    entry->value.type = type;
    entry->pos = entry->value.pos;
    int skipped = parser->version == KDL_V2 ? kdl_skip_node_space(parser) : 0;
    if (skipped < 0) {
        return false;
    }
    if (kdl_peek(parser) == '=') {
        *ret_spaced = false;
        return read_property(parser, entry);
    }
    *ret_spaced = skipped > 0;
    return !is_bare || parser->version == KDL_V2 || fail_unquoted(parser, &entry->value);
}

static void finish_entries(struct kdl_parser *parser)
{
    struct kdl_node *node = &parser->nodes[parser->n_nodes - 1];
    if (parser->n_entries > 0) {
        node->n_entries = parser->n_entries;
        node->entries = kdl_arena_dup(
            parser->arena, parser->entries, parser->n_entries * sizeof(*parser->entries));
        parser->n_entries = 0;
    }
}

/* --- blocks --- */

/* At a '{'. */
static bool open_block(struct kdl_parser *parser, const struct open_node *open, bool is_dropped)
{
    struct kdl_pos pos = kdl_here(parser);
    if ((open->has_children && !is_dropped) || (open->has_block && parser->version == KDL_V1)) {
        return kdl_fail(parser, pos, "a node has one block of children");
    }
    if (parser->n_blocks >= parser->limits.max_depth) {
        return kdl_fail(parser, pos, "blocks nested more than %zu deep", parser->limits.max_depth);
    }
    finish_entries(parser);
    push_block(parser, &(struct kdl_block){
                           .pos = pos,
                           .first_child = parser->n_nodes,
                           .is_dropped = is_dropped,
                           .owner_is_dropped = open->is_dropped,
                           .owner_has_children = open->has_children,
                       });
    parser->at++;
    return true;
}

/* At the '}' of the innermost block: its owner is open again. */
static struct open_node close_block(struct kdl_parser *parser)
{
    struct kdl_block block = parser->blocks[--parser->n_blocks];
    struct open_node open = {
        .is_dropped = block.owner_is_dropped,
        .has_children = block.owner_has_children || !block.is_dropped,
        .has_block = true,
    };
    parser->at++;
    if (block.is_dropped) {
        parser->n_nodes = block.first_child;
        return open;
    }
    struct kdl_node *owner = &parser->nodes[block.first_child - 1];
    owner->children = take_nodes(parser, block.first_child, &owner->n_children);
    owner->has_children_block = true;
    return open;
}

/* --- nodes --- */

/* At a "/-": steps behind it and the space it may have. */
static bool skip_slashdash(struct kdl_parser *parser)
{
    parser->at += 2;
    return (parser->version == KDL_V1 ? kdl_skip_node_space(parser)
                                      : kdl_skip_line_space(parser)) >= 0;
}

static bool begin_node(struct kdl_parser *parser, struct open_node *ret)
{
    struct kdl_node node = {0};
    *ret = (struct open_node){.is_dropped = kdl_at(parser, "/-")};
    if ((ret->is_dropped && !skip_slashdash(parser)) || !count_one(parser) ||
        !kdl_read_type(parser, &node.type) ||
        !kdl_read_name(parser, "a node name", &node.name, &node.pos)) {
        return false;
    }
    push_node(parser, &node);
    return true;
}

/* The node cannot go on here without white space. */
static bool fail_unspaced(struct kdl_parser *parser)
{
    if (parser->version == KDL_V2 && (kdl_peek(parser) == '"' || kdl_peek(parser) == '#')) {
        return kdl_fail(parser, kdl_here(parser),
            "expected a space before '%c' (a name with this "
            "character needs quotes; raw text is written "
            "#\"...\"#)",
            *parser->at);
    }
    return kdl_fail_expected(parser, "a space, a newline or ';'");
}

static bool add_entry(
    struct kdl_parser *parser, const struct open_node *open, bool is_dropped, bool *spaced)
{
    if (open->has_block) {
        return kdl_fail_expected(parser, "a newline or ';' after the block");
    }
    if (!*spaced) {
        return fail_unspaced(parser);
    }
    if (!read_entry(parser, next_entry(parser), spaced)) {
        return false;
    }
    parser->n_entries += !is_dropped;
    return true;
}

/* Takes a ';'. The rest is left: a comment or newline is space between nodes, '}' ends a block. */
static bool end_node(struct kdl_parser *parser, const struct open_node *open)
{
    if (kdl_peek(parser) == '}') {
        if (parser->version == KDL_V1) {
            return kdl_fail_expected(parser, "a newline or ';' after the node (KDL 1)");
        }
        if (parser->n_blocks == 0) {
            return kdl_fail(parser, kdl_here(parser), "'}' closes nothing");
        }
    }
    parser->at += kdl_peek(parser) == ';';
    finish_entries(parser);
    parser->n_nodes -= open->is_dropped;
    return true;
}

static bool at_node_end(const struct kdl_parser *parser)
{
    char c = kdl_peek(parser);
    return c == '\n' || c == ';' || c == '}' || parser->at == parser->end ||
           kdl_at_newline(parser) || (c == '/' && kdl_at(parser, "//"));
}

/* At a "/-" within a node: steps behind it. An entry behind it needs space before it. */
static bool begin_dropped(struct kdl_parser *parser, const struct open_node *open, bool spaced)
{
    struct kdl_pos pos = kdl_here(parser);
    pos.length = 2;
    if (!skip_slashdash(parser)) {
        return false;
    }
    bool needs_space = !open->has_block && kdl_peek(parser) != '{';
    return spaced || !needs_space || kdl_fail(parser, pos, "expected a space before the '/-'");
}

/* Reads the node's entries up to its end or into a block. */
static bool continue_node(struct kdl_parser *parser, const struct open_node *open)
{
    bool spaced = false;
    for (;;) {
        int skipped = kdl_skip_node_space(parser);
        if (skipped < 0) {
            return false;
        }
        spaced = spaced || skipped > 0;
        if (at_node_end(parser)) {
            return end_node(parser, open);
        }
        bool is_dropped = kdl_peek(parser) == '/' && kdl_at(parser, "/-");
        if (is_dropped && !begin_dropped(parser, open, spaced)) {
            return false;
        }
        if (kdl_peek(parser) == '{') {
            return open_block(parser, open, is_dropped);
        }
        if (!add_entry(parser, open, is_dropped, &spaced)) {
            return false;
        }
    }
}

/* Goes to the next node of the innermost block and begins it, or ends the block: then its owner is
 * the node to go on with. */
static bool next_node(struct kdl_parser *parser, struct open_node *ret, bool *ret_is_end)
{
    *ret_is_end = false;
    if (kdl_skip_line_space(parser) < 0) {
        return false;
    }
    if (parser->at == parser->end) {
        *ret_is_end = true;
        return parser->n_blocks == 0 || kdl_fail(parser, parser->blocks[parser->n_blocks - 1].pos,
                                            "unclosed block: '}' is missing");
    }
    if (kdl_peek(parser) != '}') {
        return begin_node(parser, ret);
    }
    if (parser->n_blocks == 0) {
        return kdl_fail(parser, kdl_here(parser), "'}' closes nothing");
    }
    *ret = close_block(parser);
    return true;
}

bool kdl_parse_nodes(struct kdl_parser *parser, struct kdl_document *doc)
{
    struct open_node open = {0};
    bool is_end;
    while (next_node(parser, &open, &is_end)) {
        if (is_end) {
            doc->nodes = take_nodes(parser, 0, &doc->n_nodes);
            return true;
        }
        if (!continue_node(parser, &open)) {
            return false;
        }
    }
    return false;
}
