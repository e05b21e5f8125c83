/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A connection to an ssh(1) that serves others as their master (ControlMaster), in the protocol
 * that OpenSSH's PROTOCOL.mux describes: it makes and removes forwards, and runs a command in the
 * guest, over the one login it has.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;
struct loop;
struct mux;

struct mux_forward {
    bool is_remote;          /* listened for in the guest */
    const char *listen_host; /* a path of a socket if the port is 0 */
    uint16_t listen_port;
    const char *connect_host; /* the same */
    uint16_t connect_port;
};

/* Called from the loop. mux_free() may be called in any of them. */
struct mux_events {
    void (*greeted)(void *context);
    /* To the request with this id. `refusal` NULL: done; else borrowed, printable text. */
    void (*answered)(void *context, uint32_t id, const char *refusal);
    /* The other side is gone, or does not speak the protocol. Nothing else is called after it. */
    void (*ended)(void *context);
};

/* `path` is the master's socket. The events are copied. NULL: it cannot be connected to. */
struct mux *mux_new(
    struct loop *loop, const char *path, const struct mux_events *events, void *context);
void mux_free(struct mux *mux); /* NULL is fine */

/* Makes the forward, or removes it. Making an existing one succeeds. Call it once greeted. */
void mux_forward(struct mux *mux, uint32_t id, bool is_to_be, const struct mux_forward *forward);

/* Runs a command in the guest, for as long as this connection lasts: its output goes to
 * `output_fd`, which the caller may close then; its input is empty. One for each connection, once
 * greeted. */
void mux_run(struct mux *mux, uint32_t id, const char *command, int output_fd);
