/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What the files of the KDL parser share and nobody else sees.
 *
 * The text is checked once from end to end (kdl_validate()), so all later code may take it for
 * valid UTF-8. Functions of the parser that return bool tell false after they stored an error in
 * parser->error; the first error ends the parse.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/kdl/kdl.h"

/* --- memory: everything a document owns goes at once, so nothing walks the tree to free it --- */

struct kdl_arena {
    struct kdl_arena_chunk *chunks; /* the newest first */
    size_t used;
    size_t size;
};

/* A document and the memory its pointers point into. `document` stands first: the two convert. */
struct kdl_storage {
    struct kdl_document document;
    struct kdl_arena arena;
};

void *kdl_arena_alloc(struct kdl_arena *arena, size_t size); /* aligned for any object */
char *kdl_arena_text(struct kdl_arena *arena, size_t size);  /* aligned for nothing */
void *kdl_arena_dup(struct kdl_arena *arena, const void *p, size_t size); /* size 0: NULL */
void kdl_arena_clear(struct kdl_arena *arena);

/* --- characters (specification: Whitespace, Newline, Identifier, Disallowed Code Points) --- */

/* The code point at `p` of valid UTF-8, and its bytes. */
uint32_t kdl_decode(const char *p, size_t *ret_bytes);
size_t kdl_encode(uint32_t code_point, char out[4]);

/* Bytes of the white space or newline at `p`, 0 when there is none. CR LF is one newline. */
size_t kdl_space_at(const char *p, const char *end, enum kdl_version version);
size_t kdl_newline_at(const char *p, const char *end);

/* Behind the last identifier character from `p` on. */
const char *kdl_identifier_end(const char *p, const char *end, enum kdl_version version);

/* The text begins like a number: so it is one, or an error, but no name. */
bool kdl_looks_numeric(const char *p, const char *end, enum kdl_version version);

/* One of the words that mean a value in `version` or would if written with '#'. */
bool kdl_is_keyword(const char *word, size_t length, enum kdl_version version);

/* May be printed without quotes. */
bool kdl_is_bare(const char *s, size_t length, enum kdl_version version);

/* Must not stand in a document as itself, only as an escape. */
bool kdl_is_forbidden(uint32_t code_point);

/* The first byte that is no UTF-8 or begins a code point `version` forbids; `size` if none. */
size_t kdl_validate(const char *text, size_t size, enum kdl_version version, bool *ret_is_utf8);

/* --- the parser, and where it stands --- */

/* A block of children that is open. Its nodes are those from `first_child` on; its owner is the
 * node just below. */
struct kdl_block {
    struct kdl_pos pos; /* of the '{' */
    size_t first_child;
    bool is_dropped;         /* slashdashed */
    bool owner_is_dropped;   /* its node is slashdashed */
    bool owner_has_children; /* a block of the node that counts came before this one */
};

struct kdl_parser {
    const char *at;
    const char *end;
    enum kdl_version version; /* KDL_V1 or KDL_V2 */
    struct kdl_limits limits; /* none of them 0 */
    uint32_t line;
    uint32_t column;       /* of `column_at`: counted on demand, every byte once */
    const char *column_at; /* on the line of `at`, not behind it */
    struct kdl_arena *arena;
    size_t n_counted;       /* nodes and entries so far, dropped ones as well */
    struct kdl_node *nodes; /* a stack: finished siblings of every open block */
    size_t n_nodes;
    size_t nodes_size;
    struct kdl_entry *entries; /* of the node being read */
    size_t n_entries;
    size_t entries_size;
    struct kdl_block *blocks;
    size_t n_blocks;
    size_t blocks_size;
    struct kdl_error *error;
};

/* Parses the whole text into `storage`. */
bool kdl_parse_nodes(struct kdl_parser *parser, struct kdl_document *doc);

struct kdl_pos kdl_here(struct kdl_parser *parser); /* length 1 */

/* Sets the length of the token that began at `start`, and ends at parser->at: a token of several
 * lines counts up to the end of its first. */
void kdl_end_token(struct kdl_parser *parser, struct kdl_pos *pos, const char *start);

/* Steps over a newline of `bytes`. */
void kdl_next_line(struct kdl_parser *parser, size_t bytes);

/* Stores the error. Always false. */
bool kdl_fail(struct kdl_parser *parser, struct kdl_pos pos, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* "expected `wanted`, found ..." at parser->at. */
bool kdl_fail_expected(struct kdl_parser *parser, const char *wanted);

/* The start of a token, made fit for a message. */
#define KDL_EXCERPT_SIZE 48
const char *kdl_excerpt(char out[KDL_EXCERPT_SIZE], const char *p, const char *end);

bool kdl_at(const struct kdl_parser *parser, const char *word); /* the text goes on with `word` */

/* The next byte; NUL at the end of the text. */
static inline char kdl_peek(const struct kdl_parser *parser)
{
    return parser->at < parser->end ? *parser->at : '\0';
}

bool kdl_at_newline(const struct kdl_parser *parser);

/* --- space and comments: 1 when some was skipped, 0 when none, -1 on an error --- */

int kdl_skip_space(struct kdl_parser *parser);      /* and comments within the line */
int kdl_skip_node_space(struct kdl_parser *parser); /* and continued lines */
int kdl_skip_line_space(struct kdl_parser *parser); /* and newlines */
void kdl_skip_to_newline(struct kdl_parser *parser);

/* --- tokens --- */

/* A string, number or keyword, without annotation. *ret_is_bare: a string without quotes. `wanted`
 * says in errors what should stand here. */
bool kdl_read_scalar(
    struct kdl_parser *parser, const char *wanted, struct kdl_value *ret, bool *ret_is_bare);

/* `value` may be a name: it is a string and holds no U+0000. */
bool kdl_check_name(struct kdl_parser *parser, const char *what, const struct kdl_value *value);

/* A string that is a name or an annotation; `what` says so in errors. */
bool kdl_read_name(
    struct kdl_parser *parser, const char *what, char **ret, struct kdl_pos *ret_pos);

/* "(type)" if there is one, with the space behind it; else NULL. */
bool kdl_read_type(struct kdl_parser *parser, char **ret);

bool kdl_read_quoted(struct kdl_parser *parser, struct kdl_value *ret);
bool kdl_read_raw(struct kdl_parser *parser, struct kdl_value *ret);
bool kdl_read_number(struct kdl_parser *parser, struct kdl_value *ret);

/* parser->at is a raw string of its version. */
bool kdl_at_raw(const struct kdl_parser *parser);

/* Reads the body behind the opening quotes up to and with the closing ones. `hashes`: of a raw
 * string, -1 of a string with escapes. */
bool kdl_read_multiline(
    struct kdl_parser *parser, struct kdl_pos opened, ptrdiff_t hashes, struct kdl_value *ret);

/* Where a raw string ends: the next `quotes` with `hashes` behind them. NULL if it does not. */
const char *kdl_find_raw_end(const char *p, const char *end, const char *quotes, size_t hashes);

/*
 * Decodes the escape at `p`, a '\', other than a white space escape. Returns the bytes it takes and
 * what it means in `out`; 0 when it is none.
 */
size_t kdl_decode_escape(
    const char *p, const char *end, enum kdl_version version, char out[4], size_t *ret_size);

/* Skips a white space escape before `end`; false when there is none at parser->at. */
bool kdl_skip_space_escape(struct kdl_parser *parser, const char *end);

/* Appends the ordinary characters at parser->at, before `end`, to *out. */
void kdl_copy_run(struct kdl_parser *parser, const char *end, char **out);

bool kdl_fail_escape(struct kdl_parser *parser); /* the escape at parser->at is none */
