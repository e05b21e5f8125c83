/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A bridge between the user's terminal and a guest's serial console (a unix stream socket).
 *
 * Input that is a terminal is put into raw mode (cli/guest/raw_mode.h): every key goes to the
 * guest, but Ctrl+] (0x1d) detaches. Other input goes through byte by byte up to its end; then what
 * the guest answers is shown until it has been silent for a while. What the guest writes goes out
 * as it is: it is the user's terminal that is attached to it. A serial line has no window size.
 *
 * SIGINT, SIGTERM, SIGHUP and SIGQUIT end the bridge; SIGTSTP stops the process with its terminal
 * restored, SIGCONT makes it raw again. When this returns the terminal is as it was before.
 */
#pragma once

#include <stdint.h>

struct error;

struct terminal_bridge {
    int input_fd;
    int output_fd;
    int peer_fd;     /* non-blocking */
    int64_t idle_ms; /* the silence that ends it, once input that is not a terminal has ended */
};

enum terminal_end {
    TERMINAL_DETACHED,      /* Ctrl+] */
    TERMINAL_DRAINED,       /* input has ended and the guest writes nothing more */
    TERMINAL_PEER_CLOSED,   /* the VM is gone, or its console was closed */
    TERMINAL_OUTPUT_CLOSED, /* the reader of stdout has closed it */
    TERMINAL_SIGNALLED,
};

struct terminal_result {
    enum terminal_end end;
    int signal; /* TERMINAL_SIGNALLED: which */
};

/* The descriptors stay the caller's. -ERR_IO: the terminal or the signals cannot be set up. */
int terminal_run(
    const struct terminal_bridge *bridge, struct terminal_result *ret, struct error *err);
