/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A growable byte buffer with a hard maximum (curl's dynbuf is the model): a buffer that outside
 * input can fill is bounded by its declaration. Once an append does not fit, the buffer is
 * `is_full`, keeps its contents, and refuses everything until buf_reset(); so a caller may append
 * freely and check once at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct buf {
    char *data; /* NUL-terminated when not NULL; the NUL is not counted */
    size_t len;
    size_t cap;
    size_t max; /* bytes; 0 means BUF_DEFAULT_MAX */
    bool is_full;
};

#define BUF_DEFAULT_MAX ((size_t)64 << 20)
#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})
#define cleanup_buf __attribute__((cleanup(buf_clear)))

/* Makes room for `n` more bytes; false (and is_full) when they would pass the maximum. */
bool buf_grow(struct buf *b, size_t n);

/* Appends `n` bytes that the caller has to write there at once; NULL when buf_grow() is false.
 * Records are written in pieces of a few bytes, hence in line. */
static inline char *buf_extend(struct buf *b, size_t n)
{
    bool has_room = !b->is_full && n < b->cap - b->len;
    if (!has_room && !buf_grow(b, n)) {
        return NULL;
    }
    char *at = b->data + b->len;
    b->len += n;
    b->data[b->len] = '\0';
    return at;
}

/* Appends, or returns false as buf_grow(). */
static inline bool buf_add(struct buf *b, const void *bytes, size_t n)
{
    char *at = buf_extend(b, n);
    if (at && n > 0) {
        memcpy(at, bytes, n);
    }
    return at != NULL;
}

static inline bool buf_add_str(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

static inline bool buf_add_char(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

bool buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first n bytes (n ≤ len). */
void buf_consume(struct buf *b, size_t n);

/* The text, never NULL. Borrowed until the next change. */
const char *buf_str(const struct buf *b);

/* Hands the text to the caller (never NULL, free() it) and empties the buffer. */
char *buf_steal(struct buf *b);

void buf_reset(struct buf *b); /* empties, keeps the memory */
void buf_clear(struct buf *b); /* frees */
void buf_wipe(struct buf *b);  /* overwrites, and frees; not what it was moved from as it grew */
