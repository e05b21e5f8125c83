/* SPDX-License-Identifier: MPL-2.0 */
/*
 * libFuzzer target: any bytes parse or fail as every version, with small limits and with the usual
 * ones; what parses prints to text that parses again and prints the same.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/kdl/kdl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count_lines(const char *text, size_t size)
{
    size_t n = 1;
    for (size_t i = 0; i < size; i++) {
        /* The last byte of each newline: LF, VT, FF, CR, NEL, LS, PS. Too many is fine. */
        n += (text[i] >= '\n' && text[i] <= '\r') || text[i] == '\x85' || text[i] == '\xa8' ||
             text[i] == '\xa9';
    }
    return n;
}

static void check_error(const struct kdl_error *error, const char *text, size_t size)
{
    assert(error->pos.line >= 1 && error->pos.line <= count_lines(text, size));
    assert(error->pos.column >= 1 && error->pos.column <= size + 1);
    assert(error->pos.length >= 1 && error->pos.length <= size + 1);
    assert(memchr(error->message, '\0', sizeof(error->message)));
    assert(error->message[0]);
}

static void print_twice(const struct kdl_document *doc)
{
    struct buf first = BUF_INIT(0);
    struct buf second = BUF_INIT(0);
    struct kdl_document *again = NULL;
    struct kdl_error error;
    kdl_print(&first, doc);
    const struct kdl_limits limits = {.max_bytes = (size_t)64 << 20};
    int rc = kdl_parse(first.data, first.len, doc->version, &limits, &again, &error);
    if (rc < 0) {
        abort();
    }
    kdl_print(&second, again);
    if (strcmp(buf_str(&first), buf_str(&second)) != 0) {
        abort();
    }
    kdl_document_free(again);
    buf_clear(&first);
    buf_clear(&second);
}

static void parse(
    const char *text, size_t size, enum kdl_version version, const struct kdl_limits *limits)
{
    struct kdl_document *doc = NULL;
    struct kdl_error error;
    if (kdl_parse(text, size, version, limits, &doc, &error) < 0) {
        check_error(&error, text, size);
        return;
    }
    print_twice(doc);
    kdl_document_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct kdl_limits small = {.max_depth = 3, .max_nodes = 12};
    static const enum kdl_version versions[] = {KDL_AUTO, KDL_V1, KDL_V2};
    /* A copy of its own size: reading past the end is seen. */
    char *text = malloc(size ? size : 1);
    memcpy(text, data ? (const char *)data : "", size);
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        parse(text, size, versions[i], &small);
        parse(text, size, versions[i], NULL);
    }
    free(text);
    return 0;
}
