/* SPDX-License-Identifier: MPL-2.0 */
/*
 * gRPC calls over libcurl's HTTP/2: a call sends messages, receives messages and ends with a
 * status. A call with one message in each direction is unary; every other is a stream.
 *
 * A channel is one endpoint with its connections. A caller that finds an endpoint dead drops the
 * channel and makes another one: no new call uses the old connections, which close with the last
 * call on them. libcurl may repeat a request by itself, but never one whose message it has read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/error.h"
#include "specs/base/text.h"

struct buf;
struct grpc_call;
struct grpc_channel;
struct loop;

/* Files in PEM; all NULL for a URL with http:, which is for tests. Copied. */
struct grpc_tls {
    const char *ca; /* of the server's certificate; no other is trusted */
    const char *certificate;
    const char *key;
};

/* `url`: "https://a.lan:2379", without a path. */
int grpc_channel_new(struct loop *loop, const char *url, const struct grpc_tls *tls,
    struct grpc_channel **ret, struct error *err);
void grpc_channel_drop(struct grpc_channel *channel); /* NULL is fine */

enum grpc_ending {
    GRPC_STATUS,   /* `status` and its text; 0: done */
    GRPC_NOT_SENT, /* there was no connection, or the message was not sent */
    GRPC_BROKEN,   /* sent; it may have been carried out */
    GRPC_LATE,     /* the same: no answer in time */
    GRPC_STRANGE,  /* what came is not gRPC, or too large; whether it was carried out … */
};

struct grpc_end {
    enum grpc_ending ending;
    int status;
    const char *words; /* of the status, printable; "" */
    struct error err;  /* of every other ending, with the endpoint; ERR_FLEET_… */
};

/* Both are called from the loop, never from inside libcurl or the function that started the call.
 * The message is borrowed. The call may be cancelled inside; after `end` it is gone. */
typedef void grpc_message_fn(void *context, const struct bytes *message);
typedef void grpc_end_fn(void *context, const struct grpc_end *end);

struct grpc_request {
    const char *method; /* "/etcdserverpb.KV/Range" */
    int64_t connect_ms; /* of a connection and its handshake */
    int64_t timeout_ms; /* of the whole call; 0: none, of a stream */
    bool needs_leader;  /* a member that knows of no leader refuses, and ends streams */
    size_t message_max; /* bytes of a message received */
    bool stays_open;    /* more may be sent: grpc_send() */
    grpc_message_fn *message;
    grpc_end_fn *end;
    void *context;
};

/* `frames` are the messages to be sent at first, and taken over: the buffer is empty then. */
struct grpc_call *grpc_start(
    struct grpc_channel *channel, const struct grpc_request *request, struct buf *frames);
void grpc_send(struct grpc_call *call, const struct buf *frames); /* copied */
void grpc_cancel(struct grpc_call *call);                         /* NULL is fine */
