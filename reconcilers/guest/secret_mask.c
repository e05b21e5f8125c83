/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/guest/secret_mask.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/mem.h"

enum { SHORT_LINE = 4 }; /* bytes */

struct needle {
    char *text;
    size_t n;
};

struct secret_mask {
    struct needle *needles;
    size_t count;
    bool begins[UINT8_MAX + 1]; /* whether a needle begins with the byte */
    struct buf kept;
    size_t n_masked; /* of `kept`, from its beginning: they are of a secret already */
};

static void add_needle(struct secret_mask *mask, const char *text, size_t n)
{
    mem_grow(mask->needles, mask->count);
    mask->needles[mask->count++] = (struct needle){mem_strndup(text, n), n};
    mask->begins[(uint8_t)text[0]] = true;
}

static void add_lines(struct secret_mask *mask, const char *value)
{
    for (const char *line = value; *line;) {
        size_t n = strcspn(line, "\r\n");
        if (n >= SHORT_LINE && n < strlen(value)) {
            add_needle(mask, line, n);
        }
        line += n + strspn(line + n, "\r\n");
    }
}

struct secret_mask *secret_mask_new(const char *const *values, size_t count)
{
    struct secret_mask *mask = mem_new(struct secret_mask);
    for (size_t i = 0; i < count; i++) {
        if (values[i][0]) {
            add_needle(mask, values[i], strlen(values[i]));
            add_lines(mask, values[i]);
        }
    }
    return mask;
}

void secret_mask_reset(struct secret_mask *mask)
{
    buf_wipe(&mask->kept);
    mask->n_masked = 0;
}

void secret_mask_free(struct secret_mask *mask)
{
    if (!mask) {
        return;
    }
    buf_wipe(&mask->kept);
    for (size_t i = 0; i < mask->count; i++) {
        mem_wipe_text(mask->needles[i].text);
    }
    free(mask->needles);
    free(mask);
}

/* How many bytes of the `n` at `at` are a secret; *ret_is_open: with more they may be a longer one.
 */
static size_t match(const struct secret_mask *mask, const char *at, size_t n, bool *ret_is_open)
{
    size_t longest = 0;
    *ret_is_open = false;
    for (size_t i = 0; mask->begins[(uint8_t)at[0]] && i < mask->count; i++) {
        const struct needle *needle = &mask->needles[i];
        if (needle->n > n) {
            *ret_is_open |= memcmp(needle->text, at, n) == 0;
        } else if (needle->n > longest && memcmp(needle->text, at, needle->n) == 0) {
            longest = needle->n;
        }
    }
    return longest;
}

/* Hands on what is kept, up to where a longer secret may begin unless it is all there will be. Line
 * ends stay: they are no secret. */
static void hand_on(struct secret_mask *mask, bool is_all, secret_mask_fn *fn, void *context)
{
    size_t at = 0, until = mask->n_masked, n = mask->kept.len;
    char *out = mem_calloc(n + 1, 1);
    for (; at < n; at++) {
        bool is_open;
        size_t length = match(mask, mask->kept.data + at, n - at, &is_open);
        until = at + length > until ? at + length : until;
        if (is_open && !is_all) {
            break;
        }
        char byte = mask->kept.data[at];
        out[at] = at < until && byte != '\n' && byte != '\r' ? '*' : byte;
    }
    mask->n_masked = until > at ? until - at : 0;
    if (at > 0) {
        buf_consume(&mask->kept, at);
        fn(context, out, at);
    }
    free(out);
}

void secret_mask_add(
    struct secret_mask *mask, const char *bytes, size_t n, secret_mask_fn *fn, void *context)
{
    (void)buf_add(&mask->kept, bytes, n);
    hand_on(mask, false, fn, context);
}

void secret_mask_flush(struct secret_mask *mask, secret_mask_fn *fn, void *context)
{
    hand_on(mask, true, fn, context);
}

size_t secret_mask_kept(const struct secret_mask *mask)
{
    return mask->kept.len;
}
