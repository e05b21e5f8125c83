/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/public_key.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "specs/base/base64.h"
#include "specs/base/digest.h"

enum { KEY_MAX = 65536 };

bool public_key_parse(const char *text, struct public_key *ret)
{
    struct public_key key = {.blob = BUF_INIT(KEY_MAX)};
    size_t type_length = strcspn(text, " \t\r\n");
    const char *code = text + type_length + strspn(text + type_length, " \t");
    size_t code_length = strcspn(code, " \t\r\n");
    if (type_length == 0 || type_length >= sizeof(key.type) || code_length == 0 ||
        !base64_decode(&key.blob, code, code_length)) {
        buf_clear(&key.blob);
        return false;
    }
    memcpy(key.type, text, type_length);
    *ret = key;
    return true;
}

void public_key_clear(struct public_key *key)
{
    buf_clear(&key->blob);
}

void key_fingerprint(struct buf *out, const void *blob, size_t n)
{
    char hex[DIGEST_SIZE];
    uint8_t digest[(DIGEST_SIZE - 1) / 2];
    digest_bytes(blob, n, hex);
    for (size_t i = 0; i < sizeof(digest); i++) {
        unsigned byte = 0;
        (void)sscanf(hex + 2 * i, "%2x", &byte);
        digest[i] = (uint8_t)byte;
    }
    buf_add_str(out, "SHA256:");
    base64_encode(out, digest, sizeof(digest));
}
