/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The HTTP server: where it listens (listener.c), and the loop that answers (server.c):
 * libwebsockets, on libev where its plug-in is installed, else on its own loop. One thread. It
 * never ends by itself, and has nothing to undo: SIGTERM may end it anywhere.
 *
 * Bounds: connections (those above are closed at once), a request's headers (4 KiB, 10 s), the time
 * an answer takes (a minute), the bytes of all answers that are being sent. Without a client no
 * timer runs, and nothing wakes it.
 */
#pragma once

#include <stdbool.h>

struct error;
struct paths;
struct serve;

struct listener {
    int fd;      /* non-blocking, O_CLOEXEC */
    int lock_fd; /* owns the unix socket; -1: none is needed */
    bool is_unix;
    bool is_loopback;
    char name[160]; /* "127.0.0.1:8080", with the port it got; the socket's path, shortened */
};

/* On "127.0.0.1:8080" or "[::1]:0"; ERR_USAGE: not an address and a port. */
int listener_open_tcp(const char *address, struct listener *ret, struct error *err);

/* On DATA/serve.sock, which only this user can open: -ERR_VM_CONFLICT when another one does. A file
 * that one which was killed has left is replaced. */
int listener_open_unix(const struct paths *paths, struct listener *ret, struct error *err);

/* The socket that systemd passes on (sd_listen_fds(3)); false: it passes none. */
bool listener_take_passed(struct listener *ret);

void listener_close(struct listener *listener);

struct server_tls {
    const char *cert_path, *key_path; /* PEM; NULL: no TLS */
};

/* Returns only when it cannot serve. */
int server_run(struct serve *serve, const struct listener *listener, const struct server_tls *tls,
    struct error *err);
