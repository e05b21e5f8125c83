/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The client's side of the WebSocket protocol (RFC 6455), without any I/O: its handshake, the
 * frames of a server in pieces of any size, and our own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct error;

/* ---- the handshake ---- */

enum { WEBSOCKET_KEY_SIZE = 25 };

/* Appends a GET request of `target` ("/instance/serial") at `host`; `headers` are lines of their
 * own, each with CR LF. Writes the random key that websocket_check_head() needs. */
void websocket_add_request(struct buf *out, const char *host, const char *target,
    const char *headers, char ret_key[WEBSOCKET_KEY_SIZE]);

/* Status of a response's head ("HTTP/1.1 101 …"); 0: it is none. */
int websocket_status(const char *head);

/* Checks a head of status 101, up to its empty line. -ERR_IO: it is not the answer to `key`. */
int websocket_check_head(const char *head, const char *key, struct error *err);

/* ---- frames ---- */

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

enum { WEBSOCKET_HEAD_MAX = 10, WEBSOCKET_CONTROL_MAX = 125 };

/* What was received so far. Zero-initialised by its owner. */
struct websocket {
    uint8_t head[WEBSOCKET_HEAD_MAX]; /* of the frame under way */
    size_t n_head;
    uint64_t n_left; /* bytes of its payload that are still to come */
    bool is_in_payload;
    uint8_t message; /* opcode of the message under way: TEXT, BINARY, or 0: none */
    uint8_t control[WEBSOCKET_CONTROL_MAX];
    size_t n_control;
    bool is_closed; /* by a close frame: what follows it is ignored */
};

/* Takes all `n` bytes: appends the payload of binary messages to `data` as it arrives, frames that
 * must be sent back to `reply`, drops texts. -ERR_IO: this is not the protocol, or `data` or
 * `reply` is full. */
int websocket_read(struct websocket *ws, const char *bytes, size_t n, struct buf *data,
    struct buf *reply, struct error *err);

/* Appends one masked frame. A control frame has at most WEBSOCKET_CONTROL_MAX bytes. */
void websocket_write(struct buf *out, enum websocket_opcode opcode, const void *bytes, size_t n);
