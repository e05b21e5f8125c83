/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The parser. Nothing recurses: open blocks are on a stack of their own. Finished nodes are on
 * another until their block closes and they move into the document's memory in one piece.
 *
 * Functions that return bool return false after they stored an error; the first ends the parse.
 */
#include "specs/kdl/kdl_parse.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"
#include "specs/kdl/kdl_chars.h"

/* A block of children that is open. Its nodes are those from `first_child` on; its owner is the
 * node just below. */
struct block {
    struct kdl_pos pos; /* of the '{' */
    size_t first_child;
    bool is_dropped;         /* slashdashed */
    bool owner_is_dropped;   /* its node is slashdashed */
    bool owner_has_children; /* a block of the node that counts came before this one */
};

/* The node being read: the last of parser->nodes. */
struct open_node {
    bool is_dropped;   /* slashdashed */
    bool has_children; /* a block that counts */
    bool has_block;    /* a block, perhaps slashdashed: no entries follow */
};

struct parser {
    struct kdl_reader reader;
    struct kdl_scanner scanner;
    struct kdl_token token; /* the next that counts: no space, comment or continued line */
    struct kdl_token gap;   /* what was skipped before it begins here; when is_spaced */
    bool is_spaced;
    struct kdl_limits limits; /* none of them 0 */
    size_t n_counted;         /* nodes and entries so far, dropped ones as well */
    struct kdl_node *nodes;   /* a stack: finished siblings of every open block */
    size_t n_nodes, nodes_size;
    struct kdl_entry *entries; /* of the node being read */
    size_t n_entries, entries_size;
    struct block *blocks;
    size_t n_blocks, blocks_size;
};

/* ---- tokens ---- */

static bool is_at(const struct parser *parser, enum kdl_token_kind kind)
{
    return parser->token.kind == kind;
}

static bool is_v1(const struct parser *parser)
{
    return parser->reader.version == KDL_V1;
}

static struct kdl_pos here(const struct parser *parser)
{
    struct kdl_pos pos = parser->token.pos;
    pos.length = 1;
    return pos;
}

/* "expected `wanted`, found ...". */
static bool fail_expected(const struct parser *parser, const char *wanted)
{
    struct kdl_error *error = parser->reader.error;
    struct kdl_pos pos = here(parser);
    if (is_at(parser, KDL_TOKEN_END)) {
        return kdl_fail(error, pos, "expected %s, found the end of the text", wanted);
    }
    if (is_at(parser, KDL_TOKEN_NEWLINE)) {
        return kdl_fail(error, pos, "expected %s, found the end of the line", wanted);
    }
    size_t bytes;
    const char *found = parser->token.text;
    uint32_t code_point = kdl_decode(found, &bytes);
    if (code_point < 0x20 || code_point == 0x7f || kdl_is_forbidden(code_point)) {
        return kdl_fail(error, pos, "expected %s, found U+%04X", wanted, (unsigned)code_point);
    }
    char excerpt[KDL_EXCERPT_SIZE];
    return kdl_fail(
        error, pos, "expected %s, found '%s'", wanted, kdl_excerpt(excerpt, found, found + bytes));
}

/* Scans the next token; block comments are checked and dropped. */
static bool scan(struct parser *parser)
{
    struct kdl_scanner *scanner = &parser->scanner;
    for (;;) {
        struct kdl_token token = parser->token = kdl_next_token(scanner);
        parser->is_spaced = parser->is_spaced || token.is_spaced;
        if (token.kind != KDL_TOKEN_BLOCK_COMMENT) {
            return true;
        }
        if (!token.is_closed) {
            token.pos.length = 2;
            return scanner->at == scanner->end
                       ? kdl_fail(
                             parser->reader.error, token.pos, "unclosed comment: '*/' is missing")
                       : kdl_fail(parser->reader.error, scanner->pos,
                             "comments nested more than %zu deep", scanner->max_depth);
        }
        parser->is_spaced = true;
    }
}

/* Reads the next token, skips space, comments within the line, and continued lines: "\", a comment
 * perhaps, and the newline. Version 2 takes the end of the text for one. */
static bool advance(struct parser *parser)
{
    parser->gap = (struct kdl_token){
        .kind = KDL_TOKEN_STRAY, .text = parser->scanner.at, .pos = parser->scanner.pos};
    parser->is_spaced = false;
    while (scan(parser)) {
        if (!is_at(parser, KDL_TOKEN_CONTINUATION)) {
            return true;
        }
        struct kdl_pos pos = here(parser);
        parser->is_spaced = true;
        if (!scan(parser) || (is_at(parser, KDL_TOKEN_LINE_COMMENT) && !scan(parser))) {
            return false;
        }
        if (!is_at(parser, KDL_TOKEN_NEWLINE) && (is_v1(parser) || !is_at(parser, KDL_TOKEN_END))) {
            return kdl_fail(parser->reader.error, pos,
                "a '\\' continues the node on the next line: nothing but a comment may follow it "
                "on this one");
        }
    }
    return false;
}

/* As advance(), but version 1 has no space here: if there is some, it is what was found. */
static bool advance_closely(struct parser *parser)
{
    if (!advance(parser)) {
        return false;
    }
    if (is_v1(parser) && parser->is_spaced) {
        parser->token = parser->gap;
    }
    return true;
}

static bool skip_lines(struct parser *parser)
{
    while (is_at(parser, KDL_TOKEN_NEWLINE) || is_at(parser, KDL_TOKEN_LINE_COMMENT)) {
        if (!advance(parser)) {
            return false;
        }
    }
    return true;
}

/* ---- values, names and type annotations ---- */

static bool read_keyword(
    const struct parser *parser, const char *word, size_t length, struct kdl_value *ret)
{
    if (!kdl_is_keyword(word, length, parser->reader.version)) {
        char excerpt[KDL_EXCERPT_SIZE];
        return kdl_fail(parser->reader.error, parser->token.pos,
            "'%s' is not a keyword: there are #true #false #null #inf #-inf #nan",
            kdl_excerpt(excerpt, word - 1, word + length));
    }
    if (*word == 'i' || *word == '-' || memcmp(word, "nan", 3) == 0) {
        ret->kind = KDL_NUMBER;
        ret->number = kdl_arena_text(parser->reader.arena, length + 2);
        *(char *)mempcpy(ret->number, word - 1, length + 1) = '\0';
    } else {
        ret->kind = *word == 'n' ? KDL_NULL : KDL_BOOL;
        ret->boolean = *word == 't';
    }
    return true;
}

static bool read_word(const struct parser *parser, struct kdl_value *ret)
{
    const char *word = parser->token.text;
    size_t length = parser->token.length;
    if (!is_v1(parser) && *word == '#') {
        return read_keyword(parser, word + 1, length - 1, ret);
    }
    if (!kdl_is_keyword(word, length, parser->reader.version)) {
        ret->kind = KDL_STRING;
        ret->length = length;
        ret->string = kdl_arena_text(parser->reader.arena, length + 1);
        *(char *)mempcpy(ret->string, word, length) = '\0';
        return true;
    }
    if (is_v1(parser)) {
        return read_keyword(parser, word, length, ret);
    }
    return kdl_fail(parser->reader.error, parser->token.pos,
        "'%.*s' is written '#%.*s' in KDL 2, or in quotes as text", (int)length, word, (int)length,
        word);
}

/* A string, number or keyword; it stays the current token. `wanted` is for errors. */
static bool read_scalar(const struct parser *parser, const char *wanted, struct kdl_value *ret)
{
    const struct kdl_token *token = &parser->token;
    bool is_read;
    *ret = (struct kdl_value){0};
    if (token->kind == KDL_TOKEN_STRING) {
        is_read = kdl_read_string(&parser->reader, token, ret);
    } else if (token->kind != KDL_TOKEN_WORD) {
        is_read = fail_expected(parser, wanted);
    } else if (kdl_looks_numeric(
                   token->text, token->text + token->length, parser->reader.version)) {
        is_read = kdl_read_number(&parser->reader, token, ret);
    } else {
        is_read = read_word(parser, ret);
    }
    ret->pos = token->pos;
    return is_read;
}

/* Names are C strings in struct kdl_node and struct kdl_entry: U+0000 would cut them short, and one
 * name could pass for another. */
static bool check_name(const struct parser *parser, const char *what, const struct kdl_value *value)
{
    static const char *const kinds[] = {
        [KDL_NULL] = "null", [KDL_BOOL] = "a boolean", [KDL_NUMBER] = "a number"};
    if (value->kind != KDL_STRING) {
        return kdl_fail(parser->reader.error, value->pos, "%s cannot be %s: put it in quotes", what,
            kinds[value->kind]);
    }
    if (memchr(value->string, '\0', value->length)) {
        return kdl_fail(parser->reader.error, value->pos, "%s cannot contain U+0000", what);
    }
    return true;
}

/* "(type)" if there is one; else NULL. Version 2 allows space in and behind it. */
static bool read_type(struct parser *parser, char **ret)
{
    struct kdl_value name;
    *ret = NULL;
    if (!is_at(parser, KDL_TOKEN_TYPE_OPEN)) {
        return true;
    }
    if (!advance_closely(parser) || !read_scalar(parser, "a type name", &name) ||
        !check_name(parser, "a type name", &name) || !advance_closely(parser)) {
        return false;
    }
    if (!is_at(parser, KDL_TOKEN_TYPE_CLOSE)) {
        return fail_expected(parser, "')' after the type name");
    }
    *ret = name.string;
    return advance_closely(parser);
}

/* ---- entries ---- */

static bool count_one(struct parser *parser)
{
    return parser->n_counted++ < parser->limits.max_nodes ||
           kdl_fail(parser->reader.error, here(parser), "more than %zu nodes and values",
               parser->limits.max_nodes);
}

/* `items` with room for one more than `n`. */
static void *grow(void *items, size_t n, size_t *size, size_t item_size)
{
    if (n < *size) {
        return items;
    }
    *size = *size ? *size * 2 : 16;
    return mem_resize(items, *size, item_size);
}

/* Version 1 has no bare strings as values: those of `token` need quotes. */
static bool check_quoted(
    const struct parser *parser, enum kdl_token_kind token, const struct kdl_value *value)
{
    char excerpt[KDL_EXCERPT_SIZE];
    return !is_v1(parser) || token != KDL_TOKEN_WORD || value->kind != KDL_STRING ||
           kdl_fail(parser->reader.error, value->pos,
               "'%s' needs quotes: KDL 1 has no bare text values",
               kdl_excerpt(excerpt, value->string, value->string + value->length));
}

/* At the '=' behind the string that was read into entry->value: makes it the property's name. */
static bool read_property(struct parser *parser, struct kdl_entry *entry)
{
    char *type;
    if (entry->value.type) {
        return kdl_fail(parser->reader.error, entry->pos,
            "a type annotation belongs before the value of a property, not before its name");
    }
    if (!check_name(parser, "a property name", &entry->value)) {
        return false;
    }
    entry->name = entry->value.string;
    if (!advance_closely(parser) || !read_type(parser, &type) ||
        !read_scalar(parser, "a value after the '='", &entry->value)) {
        return false;
    }
    entry->value.type = type;
    return check_quoted(parser, parser->token.kind, &entry->value) && advance(parser);
}

static bool add_entry(struct parser *parser, bool is_dropped)
{
    char *type;
    parser->entries =
        grow(parser->entries, parser->n_entries, &parser->entries_size, sizeof(*parser->entries));
    struct kdl_entry *entry = &parser->entries[parser->n_entries];
    entry->name = NULL;
    if (!count_one(parser) || !read_type(parser, &type) ||
        !read_scalar(parser, "a value", &entry->value)) {
        return false;
    }
    enum kdl_token_kind kind = parser->token.kind;
    entry->value.type = type;
    entry->pos = entry->value.pos;
    if (!advance(parser)) {
        return false;
    }
    bool is_property = is_at(parser, KDL_TOKEN_EQUALS) && !(is_v1(parser) && parser->is_spaced);
    if (!(is_property ? read_property(parser, entry) : check_quoted(parser, kind, &entry->value))) {
        return false;
    }
    parser->n_entries += !is_dropped;
    return true;
}

/* ---- blocks ---- */

/* Takes the nodes from `first` on off the stack, for good. */
static struct kdl_node *take_nodes(struct parser *parser, size_t first, size_t *ret_count)
{
    size_t count = *ret_count = parser->n_nodes - first;
    parser->n_nodes = first;
    return count == 0 ? NULL
                      : kdl_arena_dup(parser->reader.arena, parser->nodes + first,
                            count * sizeof(*parser->nodes));
}

static void finish_entries(struct parser *parser)
{
    struct kdl_node *node = &parser->nodes[parser->n_nodes - 1];
    if (parser->n_entries > 0) {
        node->n_entries = parser->n_entries;
        node->entries = kdl_arena_dup(
            parser->reader.arena, parser->entries, parser->n_entries * sizeof(*parser->entries));
        parser->n_entries = 0;
    }
}

/* At a '{'. */
static bool open_block(struct parser *parser, const struct open_node *open, bool is_dropped)
{
    struct kdl_pos pos = here(parser);
    if ((open->has_children && !is_dropped) || (open->has_block && is_v1(parser))) {
        return kdl_fail(parser->reader.error, pos, "a node has one block of children");
    }
    if (parser->n_blocks >= parser->limits.max_depth) {
        return kdl_fail(parser->reader.error, pos, "blocks nested more than %zu deep",
            parser->limits.max_depth);
    }
    finish_entries(parser);
    parser->blocks =
        grow(parser->blocks, parser->n_blocks, &parser->blocks_size, sizeof(*parser->blocks));
    parser->blocks[parser->n_blocks++] = (struct block){
        .pos = pos,
        .first_child = parser->n_nodes,
        .is_dropped = is_dropped,
        .owner_is_dropped = open->is_dropped,
        .owner_has_children = open->has_children,
    };
    return advance(parser);
}

/* At the '}' of the innermost block: its owner is open again. */
static bool close_block(struct parser *parser, struct open_node *ret)
{
    const struct block block = parser->blocks[--parser->n_blocks];
    *ret = (struct open_node){
        .is_dropped = block.owner_is_dropped,
        .has_children = block.owner_has_children || !block.is_dropped,
        .has_block = true,
    };
    if (block.is_dropped) {
        parser->n_nodes = block.first_child;
    } else {
        struct kdl_node *owner = &parser->nodes[block.first_child - 1];
        owner->children = take_nodes(parser, block.first_child, &owner->n_children);
        owner->has_children_block = true;
    }
    return advance(parser);
}

/* ---- nodes ---- */

/* Steps behind a "/-" and the space it may have. */
static bool skip_slashdash(struct parser *parser)
{
    return advance(parser) && (is_v1(parser) || skip_lines(parser));
}

static bool begin_node(struct parser *parser, struct open_node *ret)
{
    struct kdl_node node = {0};
    struct kdl_value name;
    *ret = (struct open_node){.is_dropped = is_at(parser, KDL_TOKEN_SLASHDASH)};
    if ((ret->is_dropped && !skip_slashdash(parser)) || !count_one(parser) ||
        !read_type(parser, &node.type) || !read_scalar(parser, "a node name", &name) ||
        !check_name(parser, "a node name", &name)) {
        return false;
    }
    node.name = name.string;
    node.pos = name.pos;
    parser->nodes =
        grow(parser->nodes, parser->n_nodes, &parser->nodes_size, sizeof(*parser->nodes));
    parser->nodes[parser->n_nodes++] = node;
    return advance(parser);
}

/* Takes a ';'. The rest is left: a comment or newline is space between nodes, '}' ends a block. */
static bool end_node(struct parser *parser, const struct open_node *open)
{
    if (is_at(parser, KDL_TOKEN_BLOCK_CLOSE)) {
        if (is_v1(parser)) {
            return fail_expected(parser, "a newline or ';' after the node (KDL 1)");
        }
        if (parser->n_blocks == 0) {
            return kdl_fail(parser->reader.error, here(parser), "'}' closes nothing");
        }
    }
    finish_entries(parser);
    parser->n_nodes -= open->is_dropped;
    return !is_at(parser, KDL_TOKEN_SEMICOLON) || advance(parser);
}

/* An entry needs white space before it here. */
static bool fail_unspaced(const struct parser *parser)
{
    char c = *parser->token.text;
    if (!is_v1(parser) && (c == '"' || c == '#')) {
        return kdl_fail(parser->reader.error, here(parser),
            "expected a space before '%c' (a name with this character needs quotes; raw text is "
            "written #\"...\"#)",
            c);
    }
    return fail_expected(parser, "a space, a newline or ';'");
}

/* Reads the next entry of the node, or the start of its block; *ret_is_open: more may follow. */
static bool continue_node(struct parser *parser, const struct open_node *open, bool *ret_is_open)
{
    struct kdl_pos pos = parser->token.pos;
    bool is_spaced = parser->is_spaced;
    bool is_dropped = is_at(parser, KDL_TOKEN_SLASHDASH);
    *ret_is_open = false;
    if (is_dropped && !skip_slashdash(parser)) {
        return false;
    }
    if (is_at(parser, KDL_TOKEN_BLOCK_OPEN)) {
        return open_block(parser, open, is_dropped);
    }
    if (open->has_block) {
        return fail_expected(parser, "a newline or ';' after the block");
    }
    if (!is_spaced && !is_dropped) {
        return fail_unspaced(parser);
    }
    if (!is_spaced && is_v1(parser)) {
        return kdl_fail(parser->reader.error, pos, "expected a space before the '/-'");
    }
    *ret_is_open = true;
    return add_entry(parser, is_dropped);
}

/* Reads the node up to its end or into a block. */
static bool read_node(struct parser *parser, const struct open_node *open)
{
    for (bool is_open = true; is_open;) {
        switch (parser->token.kind) {
        case KDL_TOKEN_END:
        case KDL_TOKEN_NEWLINE:
        case KDL_TOKEN_SEMICOLON:
        case KDL_TOKEN_BLOCK_CLOSE:
        case KDL_TOKEN_LINE_COMMENT:
            return end_node(parser, open);
        default:
            if (!continue_node(parser, open, &is_open)) {
                return false;
            }
        }
    }
    return true;
}

static bool read_nodes(struct parser *parser)
{
    struct open_node open = {0};
    if (!advance(parser)) {
        return false;
    }
    for (;;) {
        if (!skip_lines(parser)) {
            return false;
        }
        if (is_at(parser, KDL_TOKEN_END)) {
            return parser->n_blocks == 0 ||
                   kdl_fail(parser->reader.error, parser->blocks[parser->n_blocks - 1].pos,
                       "unclosed block: '}' is missing");
        }
        bool is_close = is_at(parser, KDL_TOKEN_BLOCK_CLOSE);
        if (is_close && parser->n_blocks == 0) {
            return kdl_fail(parser->reader.error, here(parser), "'}' closes nothing");
        }
        /* The owner of a block that ends is the node that continues. */
        if (!(is_close ? close_block(parser, &open) : begin_node(parser, &open)) ||
            !read_node(parser, &open)) {
            return false;
        }
    }
}

bool kdl_parse_nodes(const struct kdl_reader *reader, const struct kdl_scanner *scanner,
    const struct kdl_limits *limits, struct kdl_document *doc)
{
    struct parser parser = {.reader = *reader, .scanner = *scanner, .limits = *limits};
    parser.scanner.max_depth = limits->max_depth;
    bool is_parsed = read_nodes(&parser);
    if (is_parsed) {
        doc->nodes = take_nodes(&parser, 0, &doc->n_nodes);
    }
    free(parser.nodes);
    free(parser.entries);
    free(parser.blocks);
    return is_parsed;
}
