/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Works on tokens, not on the tree, because the tree has no comments. Two states: between nodes,
 * where newlines separate, and within a node, where they end it.
 */
#include "specs/vmfile/vmfile_format.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/kdl/kdl.h"
#include "specs/kdl/kdl_token.h"

#define INDENT "    "
#define MARKER "kdl-version"

#define NOWHERE SIZE_MAX

struct formatter {
    struct buf out;
    size_t depth;
    bool is_in_node;

    /* between nodes */
    size_t newlines;       /* read since the last thing was written */
    bool is_block_start;   /* the block is empty so far, but for a comment behind its '{' */
    bool has_comment_only; /* the line holds block comments, which a node may follow */
    size_t opened_at;      /* behind the last '{' */

    /* within a node */
    enum kdl_token_kind last; /* written; KDL_TOKEN_NEWLINE: nothing of this node */
    bool is_dropping;         /* behind a slashdash: newlines do not end the node */
    bool is_continuing;       /* behind a backslash, before its newline */
    bool is_break_pending;    /* the line was continued: break it if something follows */
    bool is_newline_owed;     /* a comment ended the line, and the node continues */
    size_t backslash_at;      /* of the last continuation that has a comment */
};

static void write_token(struct formatter *f, const struct kdl_token *token)
{
    size_t start = f->out.len;
    buf_add(&f->out, token->text, token->length);
    /* In a comment of version 1 it means nothing, in version 2 it would end the comment. */
    for (size_t i = start; token->kind == KDL_TOKEN_LINE_COMMENT && i < f->out.len; i++) {
        f->out.data[i] = f->out.data[i] == '\v' ? ' ' : f->out.data[i];
    }
    f->last = token->kind;
}

static void break_line(struct formatter *f, size_t depth)
{
    buf_add_char(&f->out, '\n');
    for (size_t i = 0; i < depth; i++) {
        buf_add_str(&f->out, INDENT);
    }
}

/* ---- within a node ---- */

/* Whether a space separates two parts of a node. */
static bool is_spaced(enum kdl_token_kind last, enum kdl_token_kind next)
{
    bool is_comment = next == KDL_TOKEN_LINE_COMMENT || next == KDL_TOKEN_BLOCK_COMMENT ||
                      next == KDL_TOKEN_CONTINUATION;
    switch (last) {
    case KDL_TOKEN_NEWLINE:
    case KDL_TOKEN_TYPE_OPEN:
        return false;
    case KDL_TOKEN_EQUALS:
    case KDL_TOKEN_TYPE_CLOSE:
    case KDL_TOKEN_SLASHDASH:
        return is_comment;
    default:
        return next != KDL_TOKEN_EQUALS && next != KDL_TOKEN_TYPE_CLOSE;
    }
}

/* Writes what separates the next part of the node from the last. */
static void begin_part(struct formatter *f, enum kdl_token_kind next)
{
    if (f->is_newline_owed) {
        break_line(f, f->depth + 1);
        f->backslash_at = NOWHERE;
    } else if (is_spaced(f->last, next)) {
        bool breaks = f->is_break_pending && next != KDL_TOKEN_BLOCK_OPEN &&
                      next != KDL_TOKEN_LINE_COMMENT && next != KDL_TOKEN_CONTINUATION;
        buf_add_str(&f->out, breaks ? " \\" : " ");
        if (breaks) {
            break_line(f, f->depth + 1);
        }
    }
    f->is_newline_owed = false;
    f->is_break_pending = false;
}

static void add_part(struct formatter *f, const struct kdl_token *token)
{
    if (f->out.len == 2 && f->last == KDL_TOKEN_SLASHDASH && token->length == strlen(MARKER) &&
        memcmp(token->text, MARKER, token->length) == 0) {
        buf_add_char(&f->out, ' '); /* the version marker is always "/- kdl-version 2" */
    }
    begin_part(f, token->kind);
    write_token(f, token);
    f->is_dropping = token->kind == KDL_TOKEN_SLASHDASH;
}

/* A comment on a continued line keeps its backslash. */
static void add_comment(struct formatter *f, const struct kdl_token *token)
{
    if (f->is_continuing && (f->is_newline_owed || f->backslash_at == NOWHERE)) {
        begin_part(f, KDL_TOKEN_CONTINUATION);
        f->backslash_at = f->out.len;
        buf_add_char(&f->out, '\\');
        f->last = KDL_TOKEN_CONTINUATION;
    }
    begin_part(f, token->kind);
    write_token(f, token);
}

static void end_node(struct formatter *f)
{
    if (f->backslash_at != NOWHERE && (f->is_newline_owed || f->is_continuing)) {
        /* The continuation continues nothing: the comment after it ends the line. */
        enum { LENGTH = 2 }; /* of the backslash and the space behind it */
        size_t after = f->backslash_at + LENGTH;
        memmove(f->out.data + f->backslash_at, f->out.data + after, f->out.len - after);
        f->out.len -= LENGTH;
        f->out.data[f->out.len] = '\0';
    }
    f->backslash_at = NOWHERE;
    f->is_newline_owed = false;
    f->is_break_pending = false;
    f->is_continuing = false;
    f->is_dropping = false;
    f->is_in_node = false;
    f->has_comment_only = false;
    f->newlines = 0;
}

static void open_block(struct formatter *f, const struct kdl_token *token)
{
    begin_part(f, token->kind);
    write_token(f, token);
    f->backslash_at = NOWHERE;
    f->depth++;
    f->is_in_node = false;
    f->is_dropping = false;
    f->is_block_start = true;
    f->has_comment_only = false;
    f->newlines = 0;
    f->opened_at = f->out.len;
}

/* The node continues behind its block. */
static void close_block(struct formatter *f, const struct kdl_token *token)
{
    f->depth -= f->depth > 0;
    if (f->out.len != f->opened_at) {
        break_line(f, f->depth);
    }
    write_token(f, token);
    f->is_in_node = true;
    f->is_block_start = false;
}

static void end_line_in_node(struct formatter *f)
{
    if (f->is_continuing) {
        f->is_continuing = false;
        f->is_newline_owed = f->is_newline_owed || f->backslash_at != NOWHERE;
        f->is_break_pending = !f->is_newline_owed;
    } else if (f->is_dropping) {
        f->is_newline_owed = f->is_newline_owed || f->last == KDL_TOKEN_LINE_COMMENT;
    } else {
        end_node(f);
        f->newlines = 1;
    }
}

static void add_to_node(struct formatter *f, const struct kdl_token *token)
{
    switch (token->kind) {
    case KDL_TOKEN_NEWLINE:
        end_line_in_node(f);
        break;
    case KDL_TOKEN_END:
    case KDL_TOKEN_SEMICOLON:
        end_node(f);
        break;
    case KDL_TOKEN_BLOCK_CLOSE:
        end_node(f);
        close_block(f, token);
        break;
    case KDL_TOKEN_BLOCK_OPEN:
        open_block(f, token);
        break;
    case KDL_TOKEN_CONTINUATION:
        f->is_continuing = true;
        break;
    case KDL_TOKEN_LINE_COMMENT:
    case KDL_TOKEN_BLOCK_COMMENT:
        add_comment(f, token);
        break;
    case KDL_TOKEN_WORD:
    case KDL_TOKEN_STRING:
    case KDL_TOKEN_EQUALS:
    case KDL_TOKEN_TYPE_OPEN:
    case KDL_TOKEN_TYPE_CLOSE:
    case KDL_TOKEN_SLASHDASH:
    case KDL_TOKEN_STRAY: /* not in a text that parses */
        add_part(f, token);
        break;
    }
}

/* ---- between nodes ---- */

static void begin_line(struct formatter *f)
{
    if (f->out.len > 0) {
        if (f->newlines > 1 && !f->is_block_start) {
            buf_add_char(&f->out, '\n');
        }
        break_line(f, f->depth);
    }
    f->newlines = 0;
    f->is_block_start = false;
    f->has_comment_only = false;
}

/* What follows a block comment stays on its line. */
static void begin_after_comment(struct formatter *f)
{
    if (f->newlines == 0 && f->has_comment_only) {
        buf_add_char(&f->out, ' ');
    } else {
        begin_line(f);
    }
}

static void add_between_nodes(struct formatter *f, const struct kdl_token *token)
{
    switch (token->kind) {
    case KDL_TOKEN_NEWLINE:
        f->newlines++;
        break;
    case KDL_TOKEN_END:
    case KDL_TOKEN_SEMICOLON:
    case KDL_TOKEN_CONTINUATION: /* continues nothing */
        break;
    case KDL_TOKEN_LINE_COMMENT:
        if (f->newlines == 0 && f->out.len > 0) {
            buf_add_char(&f->out, ' ');
        } else {
            begin_line(f);
        }
        write_token(f, token);
        f->has_comment_only = false;
        break;
    case KDL_TOKEN_BLOCK_COMMENT:
        begin_after_comment(f);
        write_token(f, token);
        f->has_comment_only = true;
        break;
    case KDL_TOKEN_BLOCK_CLOSE:
        close_block(f, token);
        break;
    default:
        begin_after_comment(f);
        f->is_in_node = true;
        f->last = KDL_TOKEN_NEWLINE;
        add_part(f, token);
        break;
    }
}

static void format(struct formatter *f, struct kdl_scanner *scanner)
{
    struct kdl_token token;
    do {
        token = kdl_next_token(scanner);
        if (f->is_in_node) {
            add_to_node(f, &token);
        } else {
            add_between_nodes(f, &token);
        }
    } while (token.kind != KDL_TOKEN_END && !f->out.is_full);
    if (f->out.len > 0) {
        buf_add_char(&f->out, '\n');
    }
}

/* ---- the check ---- */

/* NULL: it does not parse. */
static struct kdl_document *parse(const struct buf *text, enum kdl_version version)
{
    const struct kdl_limits limits = {.max_bytes = text->len + 1};
    struct kdl_document *doc = NULL;
    struct kdl_error error;
    int rc = kdl_parse(buf_str(text), text->len, version, &limits, &doc, &error);
    return rc < 0 ? NULL : doc;
}

/* Whether `text` parses to the same document. The source may have needed version 1 for nothing but
 * a white space, so that the formatted text parses as version 2: then it is parsed as the source's
 * version. */
static bool has_meaning(const struct buf *text, const struct kdl_document *doc)
{
    struct kdl_document *again = text->is_full ? NULL : parse(text, KDL_AUTO);
    if (again && again->version != doc->version) {
        kdl_document_free(again);
        again = parse(text, doc->version);
    }
    if (!again) {
        return false;
    }
    cleanup_buf struct buf one = BUF_INIT(0), other = BUF_INIT(0);
    kdl_print(&one, doc);
    kdl_print(&other, again);
    kdl_document_free(again);
    return !one.is_full && !other.is_full && one.len == other.len &&
           strcmp(buf_str(&one), buf_str(&other)) == 0;
}

/* A slashdashed first node may read as a version marker once it is at the very start of the text: a
 * blank line before it prevents that. */
static bool separate_from_start(struct buf *text, const struct kdl_document *doc)
{
    if (text->len < 2 || memcmp(text->data, "/-", 2) != 0 || !buf_add_char(text, '\n')) {
        return false;
    }
    memmove(text->data + 1, text->data, text->len - 1);
    text->data[0] = '\n';
    return has_meaning(text, doc);
}

int vmfile_format(const char *text, size_t size, struct buf *out, struct error *err)
{
    struct kdl_document *doc = NULL;
    struct kdl_error error;
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    if (kdl_parse(text, size, KDL_AUTO, NULL, &doc, &error) < 0) {
        return error_set(err, ERR_VMFILE_PARSE, "line %u, column %u: %s", error.pos.line,
            error.pos.column, error.message);
    }
    const char *start = size > 0 ? text : "";
    bool has_mark = size >= 3 && memcmp(start, byte_order_mark, 3) == 0;
    struct kdl_scanner scanner = kdl_scan(start + (has_mark ? 3 : 0), start + size, doc->version);
    struct formatter f = {.opened_at = NOWHERE, .backslash_at = NOWHERE};
    format(&f, &scanner);
    bool is_same = has_meaning(&f.out, doc) || separate_from_start(&f.out, doc);
    is_same = is_same && buf_add(out, buf_str(&f.out), f.out.len);
    buf_clear(&f.out);
    kdl_document_free(doc);
    return is_same ? 0
                   : error_set(err, ERR_VMFILE_INVALID,
                         "this text cannot be formatted without "
                         "changing its meaning");
}
