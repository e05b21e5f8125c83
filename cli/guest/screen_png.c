/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/screen.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"

enum { COLOR_BYTES = 3, STORED_MAX = 65535 };

static void add_u32(struct buf *out, uint32_t n)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        buf_add_char(out, (char)(n >> shift & 0xff));
    }
}

/* ISO 3309, of RFC 2083, appendix 15: bit by bit. */
static uint32_t crc32_of(const char *bytes, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }
    return ~crc;
}

static uint32_t adler32_of(const char *bytes, size_t n)
{
    enum { MODULUS = 65521 };
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < n; i++) {
        a = (a + (unsigned char)bytes[i]) % MODULUS;
        b = (b + a) % MODULUS;
    }
    return b << 16 | a;
}

static void add_chunk(struct buf *out, const char *type, const struct buf *data)
{
    add_u32(out, (uint32_t)data->len);
    size_t start = out->len;
    buf_add(out, type, strlen(type));
    buf_add(out, data->data, data->len);
    add_u32(out, crc32_of(out->data + start, out->len - start));
}

static void add_stored(struct buf *out, const struct buf *raw)
{
    buf_add(out, "\x78\x01", 2);
    for (size_t at = 0; at < raw->len;) {
        size_t n = raw->len - at < STORED_MAX ? raw->len - at : STORED_MAX;
        const char head[] = {at + n == raw->len, (char)(n & 0xff), (char)(n >> 8),
            (char)(~n & 0xff), (char)(~n >> 8 & 0xff)};
        buf_add(out, head, sizeof(head));
        buf_add(out, raw->data + at, n);
        at += n;
    }
    add_u32(out, adler32_of(raw->data, raw->len));
}

void screen_add_png(struct buf *out, const struct screen *screen)
{
    static const char depth_and_color[] = {8, 2, 0, 0, 0};
    size_t row_bytes = (size_t)screen->width * COLOR_BYTES;
    cleanup_buf struct buf header = BUF_INIT(0), raw = BUF_INIT(0), data = BUF_INIT(0);
    add_u32(&header, screen->width);
    add_u32(&header, screen->height);
    buf_add(&header, depth_and_color, sizeof(depth_and_color));
    for (uint32_t y = 0; y < screen->height; y++) {
        buf_add_char(&raw, 0); /* this row is not filtered */
        buf_add(&raw, screen->pixels + y * row_bytes, row_bytes);
    }
    add_stored(&data, &raw);
    buf_add(out, "\x89PNG\r\n\x1a\n", 8);
    add_chunk(out, "IHDR", &header);
    add_chunk(out, "IDAT", &data);
    cleanup_buf struct buf nothing = BUF_INIT(0);
    add_chunk(out, "IEND", &nothing);
}
