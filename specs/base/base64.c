/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/base64.h"

#include <stdint.h>
#include <string.h>

#include "specs/base/buf.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | p[i];
        for (count += 8; count >= 6; count -= 6) {
            buf_add_char(out, alphabet[bits >> (count - 6) & 63]);
        }
    }
    if (count > 0) {
        buf_add_char(out, alphabet[bits << (6 - count) & 63]);
    }
}

bool base64_decode(struct buf *out, const char *text, size_t n)
{
    uint32_t bits = 0;
    unsigned count = 0;
    while (n > 0 && text[n - 1] == '=') {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        const char *digit = text[i] ? strchr(alphabet, text[i]) : NULL;
        if (!digit) {
            return false;
        }
        bits = bits << 6 | (uint32_t)(digit - alphabet);
        count += 6;
        if (count >= 8) {
            count -= 8;
            buf_add_char(out, (char)(uint8_t)(bits >> count));
        }
    }
    return n % 4 != 1; /* one character alone holds less than a byte */
}
