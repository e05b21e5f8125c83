/* SPDX-License-Identifier: MPL-2.0 */
/* What the tests of the KDL parser share: text in, canonical text or one exact error out. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/kdl/kdl.h"

/* A C string with what it holds, NULs too. */
#define TEXT(literal) (literal), sizeof(literal) - 1

static inline void clear_document(struct kdl_document **doc)
{
    kdl_document_free(*doc);
}

#define cleanup_document cleanup_with(clear_document)

static inline struct kdl_document *parse_bytes(
    const char *text, size_t size, enum kdl_version version)
{
    struct kdl_document *doc = NULL;
    struct kdl_error error;
    if (kdl_parse(text, size, version, NULL, &doc, &error) < 0) {
        fail_msg("%u:%u: %s in: %s", error.pos.line, error.pos.column, error.message, text);
    }
    return doc;
}

static inline struct kdl_document *parse(const char *text, enum kdl_version version)
{
    return parse_bytes(text, strlen(text), version);
}

/* `text` parses as `version` and its canonical form is `expected`. */
static inline void check_prints(enum kdl_version version, const char *text, const char *expected)
{
    cleanup_document struct kdl_document *doc = parse(text, version);
    cleanup_buf struct buf printed = BUF_INIT(0);
    kdl_print(&printed, doc);
    assert_string_equal(buf_str(&printed), expected);
}

static inline struct kdl_error parse_wrong_bytes(
    const char *text, size_t size, enum kdl_version version, const struct kdl_limits *limits)
{
    struct kdl_document *doc = NULL;
    struct kdl_error error;
    if (kdl_parse(text, size, version, limits, &doc, &error) == 0) {
        kdl_document_free(doc);
        fail_msg("no error in: %s", text);
    }
    assert_null(doc);
    return error;
}

static inline void check_error_is(
    struct kdl_error error, unsigned line, unsigned column, unsigned length, const char *message)
{
    assert_string_equal(error.message, message);
    assert_int_equal(error.pos.line, line);
    assert_int_equal(error.pos.column, column);
    assert_int_equal(error.pos.length, length);
}

/* `text` is refused as `version`, with this error at this place. */
static inline void check_fails(enum kdl_version version, const char *text, unsigned line,
    unsigned column, unsigned length, const char *message)
{
    struct kdl_error error = parse_wrong_bytes(text, strlen(text), version, NULL);
    check_error_is(error, line, column, length, message);
}
