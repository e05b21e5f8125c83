/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Characters of KDL (specification: Whitespace, Newline, Identifier, Disallowed Code Points). The
 * text is checked once from end to end (kdl_validate()), so all other functions take valid UTF-8.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/kdl/kdl.h"

/* The code point at `p`, and its bytes. */
uint32_t kdl_decode(const char *p, size_t *ret_bytes);
size_t kdl_encode(uint32_t code_point, char out[4]);

/* The value of a hexadecimal digit, 16 for any other character. */
unsigned kdl_digit(char c);

/* Bytes of the white space or newline at `p`, 0 when there is none. CR LF is one newline. */
size_t kdl_space_at(const char *p, const char *end, enum kdl_version version);
size_t kdl_newline_at(const char *p, const char *end, enum kdl_version version);

/* Behind the last identifier character from `p` on. */
const char *kdl_identifier_end(const char *p, const char *end, enum kdl_version version);

/* The text begins like a number: so it is one, or an error, but not a name. */
bool kdl_looks_numeric(const char *p, const char *end, enum kdl_version version);

/* One of the words that mean a value in `version` or would if written with '#'. */
bool kdl_is_keyword(const char *word, size_t length, enum kdl_version version);

/* May be printed without quotes. */
bool kdl_is_bare(const char *s, size_t length, enum kdl_version version);

/* Must not occur in a document as itself, only as an escape. */
bool kdl_is_forbidden(uint32_t code_point);

/* The first byte that is not UTF-8 or begins a code point `version` forbids; `size` if none. */
size_t kdl_validate(const char *text, size_t size, enum kdl_version version, bool *ret_is_utf8);
