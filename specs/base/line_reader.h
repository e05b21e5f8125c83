/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Splits a stream into lines. Every byte is examined and moved a bounded number of times, however
 * many lines a piece has, as the sender may be a guest. Pure: no descriptor.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/buf.h"

struct line_reader {
    struct buf input;
    size_t start;     /* of what was not taken yet */
    size_t n_scanned; /* bytes from there on known to contain no newline */
};

/* `max`: of what is not taken. */
void line_reader_init(struct line_reader *reader, size_t max);
void line_reader_clear(struct line_reader *reader);

/* Appends bytes. False: it would be more than the maximum. */
bool line_reader_feed(struct line_reader *reader, const char *bytes, size_t n);

/* The next whole line, which is taken; *ret_n: its bytes without the newline, which still stands
 * behind them. NULL: none is complete. Borrowed until the next feed. */
const char *line_reader_next(struct line_reader *reader, size_t *ret_n);

/* What is not taken, never NULL; borrowed in the same way. */
const char *line_reader_rest(const struct line_reader *reader, size_t *ret_n);
/* Takes the first n bytes of it. */
void line_reader_skip(struct line_reader *reader, size_t n);
