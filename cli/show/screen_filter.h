/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a guest wrote, for the user's terminal: escape sequences (ECMA-48) are dropped whole, other
 * control bytes shown by text_add_printable(), lone carriage returns end the line. The bytes come
 * in pieces, so a sequence or a UTF-8 character may be cut anywhere.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;

enum screen_state { SCREEN_TEXT, SCREEN_ESCAPE, SCREEN_CONTROL, SCREEN_STRING, SCREEN_STRING_END };

/* Zero is the start of a text. */
struct screen_filter {
    enum screen_state state;
    bool has_return; /* the last byte was \r: \n may follow */
    char partial[4]; /* the start of a UTF-8 character */
    size_t n_partial;
};

/* Appends the printable form of these bytes. */
void screen_filter_add(struct screen_filter *filter, struct buf *out, const char *bytes, size_t n);

/* The text ends here: a character that was cut off is shown as bytes. */
void screen_filter_end(struct screen_filter *filter, struct buf *out);
