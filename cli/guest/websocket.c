/* SPDX-License-Identifier: MPL-2.0 */
#include "cli/guest/websocket.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "specs/base/base64.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum {
    FINAL = 0x80,
    RESERVED = 0x70,
    OPCODE = 0x0f,
    CONTROL = 0x08, /* in the opcode */
    MASKED = 0x80,  /* in the length */
    LENGTH = 0x7f,
    LENGTH_16 = 126,
    LENGTH_64 = 127,
};

/* ---- the handshake ---- */

static void add_base64(struct buf *out, const void *bytes, size_t n)
{
    base64_encode(out, bytes, n);
    while (out->len % 4 != 0) {
        buf_add_char(out, '=');
    }
}

void websocket_add_request(struct buf *out, const char *host, const char *target,
    const char *headers, char ret_key[WEBSOCKET_KEY_SIZE])
{
    uint8_t random[16];
    cleanup_buf struct buf key = BUF_INIT(WEBSOCKET_KEY_SIZE);
    (void)!getrandom(random, sizeof(random), 0); /* so few bytes never fail */
    add_base64(&key, random, sizeof(random));
    memcpy(ret_key, buf_str(&key), WEBSOCKET_KEY_SIZE);
    buf_printf(out,
        "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
        target, host, ret_key, headers);
}

int websocket_status(const char *head)
{
    static const char version[] = "HTTP/1.";
    uint64_t status;
    const char *space = strchr(head, ' ');
    if (!text_starts_with(head, version) || !space ||
        strcspn(head, "\r\n") < (size_t)(space - head)) {
        return 0;
    }
    cleanup_free char *digits = mem_strndup(space + 1, strcspn(space + 1, " \r\n"));
    return text_to_u64(digits, 100, 999, &status) ? (int)status : 0;
}

/* The value of the first header of that name, without blanks around it; "" none. free() it. */
static char *header_of(const char *head, const char *name)
{
    size_t n = strlen(name);
    for (const char *line = strchr(head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, n) == 0 && line[n] == ':') {
            const char *value = line + n + 1 + strspn(line + n + 1, " \t");
            size_t length = strcspn(value, "\r\n");
            while (length > 0 && isblank((unsigned char)value[length - 1])) {
                length--;
            }
            return mem_strndup(value, length);
        }
    }
    return mem_strdup("");
}

int websocket_check_head(const char *head, const char *key, struct error *err)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    uint8_t digest[DIGEST_SHA1_SIZE];
    cleanup_buf struct buf wanted = BUF_INIT(64);
    cleanup_free char *text = mem_printf("%s%s", key, guid);
    cleanup_free char *accepted = header_of(head, "Sec-WebSocket-Accept");
    cleanup_free char *upgrade = header_of(head, "Upgrade");
    cleanup_free char *connection = header_of(head, "Connection");
    digest_sha1(text, strlen(text), digest);
    add_base64(&wanted, digest, sizeof(digest));
    if (strcasecmp(upgrade, "websocket") != 0 || !strcasestr(connection, "upgrade")) {
        return error_set(err, ERR_IO, "the response does not switch to the WebSocket protocol");
    }
    return text_eq(accepted, buf_str(&wanted))
               ? 0
               : error_set(err, ERR_IO, "the response belongs to another WebSocket request");
}

/* ---- received ---- */

/* RFC 6455, 5.2, 5.4 and 5.5: of a complete head. */
static const char *problem_of(const struct websocket *ws)
{
    uint8_t opcode = ws->head[0] & OPCODE;
    bool is_control = opcode & CONTROL;
    if (ws->head[0] & RESERVED) {
        return "a frame uses an extension that was not negotiated";
    }
    if (ws->head[1] & MASKED) {
        return "a frame of the server is masked";
    }
    if (opcode > WEBSOCKET_PONG || (!is_control && opcode > WEBSOCKET_BINARY)) {
        return "a frame has an unknown type";
    }
    if (is_control && (!(ws->head[0] & FINAL) || ws->n_left > WEBSOCKET_CONTROL_MAX)) {
        return "a control frame is fragmented, or too long";
    }
    if (!is_control && (opcode == WEBSOCKET_CONTINUATION) != (ws->message != 0)) {
        return "a message begins inside another one, or continues none";
    }
    return ws->n_left > INT64_MAX ? "a frame is longer than frames can be" : NULL;
}

static int begin_payload(struct websocket *ws, struct error *err)
{
    size_t n = ws->n_head;
    ws->n_left = 0;
    for (size_t i = n > 2 ? 2 : 1; i < n; i++) {
        ws->n_left = ws->n_left << 8 | (i == 1 ? ws->head[i] & LENGTH : ws->head[i]);
    }
    const char *problem = problem_of(ws);
    if (problem) {
        return error_set(err, ERR_IO, "%s", problem);
    }
    uint8_t opcode = ws->head[0] & OPCODE;
    if (opcode == WEBSOCKET_TEXT || opcode == WEBSOCKET_BINARY) {
        ws->message = opcode;
    }
    ws->n_control = 0;
    ws->is_in_payload = true;
    return 0;
}

static void end_frame(struct websocket *ws, struct buf *reply)
{
    uint8_t opcode = ws->head[0] & OPCODE;
    if (opcode == WEBSOCKET_PING) {
        websocket_write(reply, WEBSOCKET_PONG, ws->control, ws->n_control);
    } else if (opcode == WEBSOCKET_CLOSE) {
        enum { CODE_SIZE = 2 };
        bool has_code = ws->n_control >= CODE_SIZE;
        websocket_write(reply, WEBSOCKET_CLOSE, ws->control, has_code ? CODE_SIZE : 0);
        ws->is_closed = true;
    } else if (!(opcode & CONTROL) && (ws->head[0] & FINAL)) {
        ws->message = 0;
    }
    ws->n_head = 0;
    ws->is_in_payload = false;
}

static size_t take_payload(struct websocket *ws, const char *bytes, size_t n, struct buf *data)
{
    size_t taken = ws->n_left < n ? (size_t)ws->n_left : n;
    if (ws->head[0] & CONTROL) {
        memcpy(ws->control + ws->n_control, bytes, taken);
        ws->n_control += taken;
    } else if (ws->message == WEBSOCKET_BINARY) {
        buf_add(data, bytes, taken);
    }
    ws->n_left -= taken;
    return taken;
}

int websocket_read(struct websocket *ws, const char *bytes, size_t n, struct buf *data,
    struct buf *reply, struct error *err)
{
    for (size_t at = 0; !ws->is_closed && (at < n || (ws->is_in_payload && ws->n_left == 0));) {
        if (!ws->is_in_payload) {
            ws->head[ws->n_head++] = (uint8_t)bytes[at++];
            enum { SHORTEST = 2 };
            uint8_t length = ws->n_head < SHORTEST ? 0 : ws->head[1] & LENGTH;
            size_t size = SHORTEST + (length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0);
            if (ws->n_head == size && begin_payload(ws, err) < 0) {
                return -(int)err->code;
            }
        } else if (ws->n_left > 0) {
            at += take_payload(ws, bytes + at, n - at, data);
        } else {
            end_frame(ws, reply);
        }
    }
    return data->is_full || reply->is_full
               ? error_set(err, ERR_IO, "the other end sends faster than it reads")
               : 0;
}

/* ---- sent ---- */

void websocket_write(struct buf *out, enum websocket_opcode opcode, const void *bytes, size_t n)
{
    uint8_t key[4];
    (void)!getrandom(key, sizeof(key), 0);
    buf_add_char(out, (char)(FINAL | opcode));
    if (n < LENGTH_16) {
        buf_add_char(out, (char)(MASKED | n));
    } else {
        bool is_short = n <= UINT16_MAX;
        buf_add_char(out, (char)(MASKED | (is_short ? LENGTH_16 : LENGTH_64)));
        for (int shift = is_short ? 8 : 56; shift >= 0; shift -= 8) {
            buf_add_char(out, (char)((uint64_t)n >> shift));
        }
    }
    buf_add(out, key, sizeof(key));
    for (size_t i = 0; i < n; i++) {
        buf_add_char(out, (char)(((const uint8_t *)bytes)[i] ^ key[i % sizeof(key)]));
    }
}
