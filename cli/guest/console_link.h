/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The serial console of a propolis-server as a plain socket: a thread passes the bytes of its
 * WebSocket on, both ways.
 */
#pragma once

#include <stdbool.h>

struct console_link;
struct error;

/*
 * Connects to /instance/serial of the server at `address` ("HOST:PORT"), within a few seconds;
 * `wants_backlog`: what the guest wrote last comes first. -ERR_PROPOLIS_UNREACHABLE: no answer;
 * -ERR_VM_INVALID_STATE: the server has no console for us.
 */
int console_link_open(const char *vm_name, const char *address, bool wants_backlog,
    struct console_link **ret, struct error *err);

/* Non-blocking; reads as ended when the console was closed. Borrowed. */
int console_link_fd(const struct console_link *link);

/* Closes the console. -ERR_IO: it had ended in violation of the protocol. */
int console_link_close(struct console_link *link, struct error *err);
