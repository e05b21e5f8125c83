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

/* A snapshot of the whole store, and back to it: all members stop, and start again with it. Only
 * its revision shows it: the store's id stays. */
void etcd_server_save(const struct etcd_server *server, const char *path);
void etcd_server_restore(struct etcd_server *server, const char *path);

/*
 * A link to one member that can be cut: a process that passes on what comes, until it is stopped.
 * Then nothing arrives, either way, and nobody is told; what was under way arrives afterwards. The
 * member and its other clients notice nothing.
 */
struct etcd_link;
struct etcd_link *etcd_link_start(const struct etcd_server *server, size_t member);
const char *etcd_link_url(const struct etcd_link *link);
void etcd_link_cut(struct etcd_link *link, bool is_cut);
void etcd_link_stop(struct etcd_link *link); /* NULL is fine */
