/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/kdl/kdl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"
#include "specs/kdl/kdl_internal.h"

#define DEFAULT_MAX_BYTES ((size_t)4 << 20)
#define DEFAULT_MAX_DEPTH 128
#define DEFAULT_MAX_NODES 200000

static const char byte_order_mark[] = "\xef\xbb\xbf";

static struct kdl_limits resolve_limits(const struct kdl_limits *given)
{
    struct kdl_limits limits = given ? *given : (struct kdl_limits){0};
    limits.max_bytes = limits.max_bytes ? limits.max_bytes : DEFAULT_MAX_BYTES;
    limits.max_depth = limits.max_depth ? limits.max_depth : DEFAULT_MAX_DEPTH;
    limits.max_nodes = limits.max_nodes ? limits.max_nodes : DEFAULT_MAX_NODES;
    if (limits.max_bytes > UINT32_MAX) {
        limits.max_bytes = UINT32_MAX; /* positions have 32 bits */
    }
    return limits;
}

static const char *skip_spaces(const char *p, const char *end)
{
    for (size_t n = 1; n > 0; p += n) {
        n = kdl_space_at(p, end, KDL_V2);
    }
    return p;
}

static const char *skip_word(const char *p, const char *end, const char *word)
{
    size_t length = strlen(word);
    return (size_t)(end - p) >= length && memcmp(p, word, length) == 0 ? p + length : NULL;
}

/* The version a marker "/- kdl-version N" on the first line names; else KDL_AUTO. */
static enum kdl_version marked_version(const char *start, const char *end)
{
    const char *p = skip_word(start, end, "/-");
    if (!p) {
        return KDL_AUTO;
    }
    bool is_utf8;
    end = start + kdl_validate(start, (size_t)(end - start), KDL_V1, &is_utf8);
    p = skip_word(skip_spaces(p, end), end, "kdl-version");
    const char *digit = p ? skip_spaces(p, end) : NULL;
    if (!digit || digit == p || digit == end) {
        return KDL_AUTO;
    }
    const char *after = skip_spaces(digit + 1, end);
    if (after < end && !kdl_newline_at(after, end)) {
        return KDL_AUTO;
    }
    return *digit == '1' ? KDL_V1 : *digit == '2' ? KDL_V2 : KDL_AUTO;
}

/* Goes to the byte that is wrong, to know its line and column. */
static bool fail_bad_text(struct kdl_parser *parser, const char *bad, bool is_utf8)
{
    while (parser->at < bad) {
        size_t bytes = kdl_newline_at(parser->at, bad);
        if (bytes > 0) {
            kdl_next_line(parser, bytes);
        } else {
            (void)kdl_decode(parser->at, &bytes);
            parser->at += bytes;
        }
    }
    struct kdl_pos pos = kdl_here(parser);
    if (!is_utf8) {
        return kdl_fail(parser, pos, "the byte 0x%02X is not UTF-8", (unsigned char)*bad);
    }
    size_t bytes;
    return kdl_fail(parser, pos,
        "U+%04X must not stand in a document (in quotes it is written "
        "\\u{%x})",
        (unsigned)kdl_decode(bad, &bytes), (unsigned)kdl_decode(bad, &bytes));
}

static bool check_text(struct kdl_parser *parser)
{
    size_t size = (size_t)(parser->end - parser->at);
    bool is_utf8;
    size_t good = kdl_validate(parser->at, size, parser->version, &is_utf8);
    return good == size || fail_bad_text(parser, parser->at + good, is_utf8);
}

static int parse_as(const char *text, const char *end, enum kdl_version version,
    const struct kdl_limits *limits, struct kdl_document **ret, struct kdl_error *ret_error)
{
    struct kdl_storage *storage = mem_new(struct kdl_storage);
    struct kdl_error error;
    struct kdl_parser parser = {
        .at = text,
        .end = end,
        .version = version,
        .limits = *limits,
        .line = 1,
        .column = 1,
        .column_at = text,
        .arena = &storage->arena,
        .error = &error,
    };
    storage->document.version = version;
    bool is_parsed = check_text(&parser) && kdl_parse_nodes(&parser, &storage->document);
    free(parser.nodes);
    free(parser.entries);
    free(parser.blocks);
    if (!is_parsed) {
        *ret_error = error;
        kdl_document_free(&storage->document);
        return -1;
    }
    *ret = &storage->document;
    return 0;
}

int kdl_parse(const char *text, size_t size, enum kdl_version version,
    const struct kdl_limits *given, struct kdl_document **ret, struct kdl_error *ret_error)
{
    struct kdl_limits limits = resolve_limits(given);
    if (size > limits.max_bytes) {
        *ret_error = (struct kdl_error){.pos = {.line = 1, .column = 1, .length = 1}};
        (void)snprintf(ret_error->message, sizeof(ret_error->message),
            "the text has %zu bytes, more than the %zu allowed", size, limits.max_bytes);
        return -1;
    }
    const char *start = size > 0 ? text : "";
    const char *end = start + size;
    const char *after_mark = skip_word(start, end, byte_order_mark);
    start = after_mark ? after_mark : start;
    if (version == KDL_AUTO) {
        version = marked_version(start, end);
    }
    if (version != KDL_AUTO) {
        return parse_as(start, end, version, &limits, ret, ret_error);
    }
    struct kdl_error error_of_v1;
    if (parse_as(start, end, KDL_V2, &limits, ret, ret_error) == 0) {
        return 0;
    }
    return parse_as(start, end, KDL_V1, &limits, ret, &error_of_v1);
}

void kdl_document_free(struct kdl_document *doc)
{
    if (doc) {
        struct kdl_storage *storage = (struct kdl_storage *)doc;
        kdl_arena_clear(&storage->arena);
        free(storage);
    }
}

const struct kdl_value *kdl_argument(const struct kdl_node *node, size_t index)
{
    for (size_t i = 0; i < node->n_entries; i++) {
        if (!node->entries[i].name && index-- == 0) {
            return &node->entries[i].value;
        }
    }
    return NULL;
}

const struct kdl_value *kdl_property(const struct kdl_node *node, const char *name)
{
    for (size_t i = node->n_entries; i > 0; i--) {
        const struct kdl_entry *entry = &node->entries[i - 1];
        if (entry->name && strcmp(entry->name, name) == 0) {
            return &entry->value;
        }
    }
    return NULL;
}
