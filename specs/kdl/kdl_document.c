/* SPDX-License-Identifier: MPL-2.0 */
/* Documents: versions, limits, and lookups in a tree. */
#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"
#include "specs/kdl/kdl.h"
#include "specs/kdl/kdl_chars.h"
#include "specs/kdl/kdl_parse.h"

#define DEFAULT_MAX_BYTES ((size_t)4 << 20)
#define DEFAULT_MAX_DEPTH 128
#define DEFAULT_MAX_NODES 200000

static const char byte_order_mark[] = "\xef\xbb\xbf";

/* A document and the memory its pointers point into. `document` is first: the two convert. */
struct storage {
    struct kdl_document document;
    struct kdl_arena arena;
};

/* The version a marker "/- kdl-version N" on the first line names; else KDL_AUTO. */
static enum kdl_version marked_version(const char *start, const char *end)
{
    bool is_utf8;
    if (end - start < 2 || memcmp(start, "/-", 2) != 0) {
        return KDL_AUTO;
    }
    end = start + kdl_validate(start, (size_t)(end - start), KDL_V1, &is_utf8);
    struct kdl_scanner scanner = kdl_scan(start + 2, end, KDL_V2);
    struct kdl_token name = kdl_next_token(&scanner);
    struct kdl_token digit = kdl_next_token(&scanner);
    struct kdl_token after = kdl_next_token(&scanner);
    if (name.length != strlen("kdl-version") ||
        memcmp(name.text, "kdl-version", name.length) != 0 || !digit.is_spaced ||
        digit.length != 1 || (after.kind != KDL_TOKEN_NEWLINE && after.kind != KDL_TOKEN_END)) {
        return KDL_AUTO;
    }
    return *digit.text == '1' ? KDL_V1 : *digit.text == '2' ? KDL_V2 : KDL_AUTO;
}

static bool check_text(const struct kdl_reader *reader, const struct kdl_scanner *scanner)
{
    size_t size = (size_t)(scanner->end - scanner->at);
    bool is_utf8;
    size_t good = kdl_validate(scanner->at, size, reader->version, &is_utf8);
    if (good == size) {
        return true;
    }
    const char *bad = scanner->at + good;
    struct kdl_pos pos = kdl_pos_after(scanner->pos, scanner->at, bad, reader->version);
    if (!is_utf8) {
        return kdl_fail(reader->error, pos, "the byte 0x%02X is not UTF-8", (unsigned char)*bad);
    }
    size_t bytes;
    unsigned code_point = kdl_decode(bad, &bytes);
    return kdl_fail(reader->error, pos,
        "U+%04X is not allowed in a document (in quotes it is written \\u{%x})", code_point,
        code_point);
}

static int parse_as(const char *text, const char *end, enum kdl_version version,
    const struct kdl_limits *limits, struct kdl_document **ret, struct kdl_error *ret_error)
{
    struct storage *storage = mem_new(struct storage);
    const struct kdl_reader reader = {
        .version = version, .arena = &storage->arena, .error = ret_error};
    const struct kdl_scanner scanner = kdl_scan(text, end, version);
    storage->document.version = version;
    if (!check_text(&reader, &scanner) ||
        !kdl_parse_nodes(&reader, &scanner, limits, &storage->document)) {
        kdl_document_free(&storage->document);
        return -1;
    }
    *ret = &storage->document;
    return 0;
}

int kdl_parse(const char *text, size_t size, enum kdl_version version,
    const struct kdl_limits *given, struct kdl_document **ret, struct kdl_error *ret_error)
{
    struct kdl_limits limits = given ? *given : (struct kdl_limits){0};
    limits.max_bytes = limits.max_bytes ? limits.max_bytes : DEFAULT_MAX_BYTES;
    limits.max_depth = limits.max_depth ? limits.max_depth : DEFAULT_MAX_DEPTH;
    limits.max_nodes = limits.max_nodes ? limits.max_nodes : DEFAULT_MAX_NODES;
    if (limits.max_bytes > UINT32_MAX) {
        limits.max_bytes = UINT32_MAX; /* positions have 32 bits */
    }
    if (size > limits.max_bytes) {
        (void)kdl_fail(ret_error, (struct kdl_pos){.line = 1, .column = 1, .length = 1},
            "the text has %zu bytes, more than the %zu allowed", size, limits.max_bytes);
        return -1;
    }
    const char *start = size > 0 ? text : "";
    const char *end = start + size;
    if (size >= strlen(byte_order_mark) && memcmp(start, byte_order_mark, 3) == 0) {
        start += strlen(byte_order_mark);
    }
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
        struct storage *storage = (struct storage *)doc;
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
