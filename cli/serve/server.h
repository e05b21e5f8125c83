/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The HTTP server: its sockets (listener.c), and the loop that responds to requests (server.c), by
 * libwebsockets, on libev if its plug-in is installed, else on libwebsockets' own loop. It has one
 * thread, never ends by itself and has nothing to undo: SIGTERM may end it at any point.
 *
 * It limits the number of connections (further ones are closed at once), a request's headers (4
 * KiB, 10 s), the time for a response (a minute), and the bytes of all responses that are being
 * sent. Without a client no timer runs, and nothing wakes it.
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
    char name[160]; /* "127.0.0.1:8080", with the actual port; the shortened path of the socket */
};

/* On "127.0.0.1:8080" or "[::1]:0"; ERR_USAGE: not an address and a port. */
int listener_open_tcp(const char *address, struct listener *ret, struct error *err);

/* On DATA/serve.sock, which only this user can open. -ERR_VM_CONFLICT: another vmctl-serve listens
 * there. Replaces the file of one that was killed. */
int listener_open_unix(const struct paths *paths, struct listener *ret, struct error *err);

/* Takes the socket that systemd passed (sd_listen_fds(3)); false: it passed none. */
bool listener_take_passed(struct listener *ret);

void listener_close(struct listener *listener);

struct server_tls {
    const char *cert_path, *key_path; /* PEM; NULL: no TLS */
};

/* Returns only if it cannot serve. */
int server_run(struct serve *serve, const struct listener *listener, const struct server_tls *tls,
    struct error *err);
