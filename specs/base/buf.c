/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

bool buf_grow(struct buf *b, size_t n)
{
    size_t max = b->max ? b->max : BUF_DEFAULT_MAX;
    if (b->is_full || n > max - b->len) {
        b->is_full = true;
        return false;
    }
    size_t cap = b->cap ? b->cap : 64;
    while (cap < b->len + n + 1) {
        cap *= 2;
    }
    b->cap = cap < max + 1 ? cap : max + 1; /* room is never more than is allowed */
    b->data = mem_resize(b->data, b->cap, 1);
    return true;
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    cleanup_free char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    return n >= 0 && buf_add(b, s, (size_t)n);
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    if (n > 0) {
        memmove(b->data, b->data + n, b->len - n + 1);
        b->len -= n;
    }
}

const char *buf_str(const struct buf *b)
{
    return b->data ? b->data : "";
}

char *buf_steal(struct buf *b)
{
    char *s = b->data ? TAKE_PTR(b->data) : mem_strdup("");
    *b = (struct buf){.max = b->max};
    return s;
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->is_full = false;
    if (b->data) {
        b->data[0] = '\0';
    }
}

void buf_clear(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.max = b->max};
}

void buf_wipe(struct buf *b)
{
    mem_wipe(TAKE_PTR(b->data), b->cap);
    buf_clear(b);
}
