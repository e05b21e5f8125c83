/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Real etcd members for tests, each with a data directory and free ports of its own on 127.0.0.1,
 * with TLS and the certificates that examples/fleet/certificates makes. A service of the host's is
 * not touched.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct etcd_server;

enum { ETCD_SERVERS_MAX = 3 };

struct etcd_server_options {
    size_t n;                     /* members; 0: 1 */
    bool is_plain;                /* without TLS */
    const char *const *arguments; /* further ones, ends with NULL; NULL: none */
};

/* In `dir`; it serves when this returns. NULL: etcd, etcdctl or openssl is not installed, which is
 * printed: the test is to be skipped. */
struct etcd_server *etcd_server_start(const char *dir, const struct etcd_server_options *options);
void etcd_server_stop(struct etcd_server *server); /* NULL is fine */

const char *etcd_server_url(const struct etcd_server *server, size_t member);

/* Files, free() them: "ca" and of users "root", "a", "b", and "expired", whose time is over. */
char *etcd_server_certificate(const struct etcd_server *server, const char *name);
char *etcd_server_key(const struct etcd_server *server, const char *name);

/* Of one member: kill -9, and start it again; SIGSTOP and SIGCONT. */
void etcd_server_kill(struct etcd_server *server, size_t member);
void etcd_server_restart(struct etcd_server *server, size_t member);
void etcd_server_freeze(struct etcd_server *server, size_t member, bool is_frozen);

/* etcdctl as root with the words of this line; the test fails when it does. */
void etcd_server_ctl(const struct etcd_server *server, const char *words);
