/* SPDX-License-Identifier: MPL-2.0 */
#include "controller/fleet/etcd/frame.h"

#include <string.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"

enum { TEXT_MAX = 512 };

void frame_write_head(uint8_t head[FRAME_HEAD_SIZE], size_t n)
{
    head[0] = 0;
    for (size_t i = 1; i < FRAME_HEAD_SIZE; i++) {
        head[i] = (uint8_t)(n >> (8 * (FRAME_HEAD_SIZE - 1 - i)));
    }
}

int frame_read(const struct bytes *data, size_t max, struct bytes *ret, struct error *err)
{
    const uint8_t *head = (const uint8_t *)data->data;
    size_t n = 0;
    if (data->n < FRAME_HEAD_SIZE) {
        return 0;
    }
    if (head[0] != 0) {
        return error_set(err, ERR_FLEET_VERSION, "a message is compressed, or not one of gRPC");
    }
    for (size_t i = 1; i < FRAME_HEAD_SIZE; i++) {
        n = n << 8 | head[i];
    }
    if (n > max) {
        return error_set(
            err, ERR_FLEET_LIMIT, "a message of %zu MiB, more than %zu", n >> 20, max >> 20);
    }
    if (data->n - FRAME_HEAD_SIZE < n) {
        return 0;
    }
    *ret = (struct bytes){data->data + FRAME_HEAD_SIZE, n};
    return 1;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)((at - digits) % 16) : -1;
}

void frame_add_text(struct buf *out, const char *encoded)
{
    cleanup_buf struct buf text = BUF_INIT(TEXT_MAX);
    for (const char *at = encoded; *at && !text.is_full; at++) {
        int high = *at == '%' ? hex_digit(at[1]) : -1;
        int low = high >= 0 ? hex_digit(at[2]) : -1;
        if (low >= 0) {
            buf_add_char(&text, (char)(high * 16 + low));
            at += 2;
        } else {
            buf_add_char(&text, *at);
        }
    }
    text_add_printable(out, buf_str(&text), text.len);
}
