/* SPDX-License-Identifier: MPL-2.0 */
/* libFuzzer target: whatever a WebSocket's server sends, in pieces of any size, is data, replies or
 * an error; cut in pieces it is the same as whole. Its answer to the handshake is read as well. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/guest/websocket.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    int rc;
    struct buf data;
    size_t n_reply; /* its bytes are masked at random */
};

static struct outcome run(const uint8_t *data, size_t size, size_t piece)
{
    struct websocket ws = {.n_head = 0};
    struct outcome outcome = {.rc = 0};
    cleanup_buf struct buf reply = BUF_INIT(0);
    struct error err = {.code = ERR_NONE};
    for (size_t at = 0; at < size && outcome.rc == 0; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        outcome.rc = websocket_read(&ws, (const char *)data + at, n, &outcome.data, &reply, &err);
    }
    outcome.n_reply = reply.len;
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole = run(data, size, size);
    for (size_t piece = 1; piece < 4; piece++) {
        struct outcome parts = run(data, size, piece);
        if (parts.rc != whole.rc || parts.n_reply != whole.n_reply ||
            parts.data.len != whole.data.len ||
            memcmp(buf_str(&parts.data), buf_str(&whole.data), whole.data.len) != 0) {
            abort();
        }
        buf_clear(&parts.data);
    }
    buf_clear(&whole.data);
    cleanup_free char *head = mem_strndup((const char *)data, size);
    struct error err = {.code = ERR_NONE};
    (void)websocket_status(head);
    (void)websocket_check_head(head, "dGhlIHNhbXBsZSBub25jZQ==", &err);
    return 0;
}
