/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A real OpenSSH server for one test: on 127.0.0.1 at a port of the kernel's choice, with its own
 * host key and configuration, in a directory of the test's, for the user who runs the test.
 *
 * A process of ours listens and starts `sshd -i` for every connection, so that no port has to be
 * guessed and nothing is left in between. All of them are one process group, ended together.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sshd;

struct sshd_options {
    const char *dir;       /* exists; files are made in it */
    bool has_no_sftp;      /* no SFTP subsystem */
    bool has_broken_sftp;  /* an SFTP subsystem whose program does not exist */
    bool has_own_programs; /* those in `dir`/bin come first */
    bool is_trickling;     /* every byte of the server's is a packet of its own */
};

struct sshd {
    char *dir;
    uint16_t port;
    char *user;
    char *client_key;       /* a private key that is let in */
    char *other_key;        /* one that is not */
    char *host_key_public;  /* OpenSSH public key files: the server's … */
    char *other_key_public; /* … and another */
    int pid, pidfd;
};

/* Fails the test when it cannot be started. */
struct sshd *sshd_start(const struct sshd_options *options);

/* Kills the listener and every connection's sshd, at once. */
void sshd_kill(struct sshd *sshd);

/* Stops them all: they live, but answer nothing. */
void sshd_freeze(struct sshd *sshd);

void sshd_stop(struct sshd *sshd); /* kills it if need be, frees; NULL is fine */

/* A new directory for one test, under $TMPDIR or /tmp; test_dir_remove() frees the name. */
char *test_dir_make(void);
void test_dir_remove(char *dir);
