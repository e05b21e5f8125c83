/* SPDX-License-Identifier: MPL-2.0 */
/*
 * How ssh(1) gets into a guest: the options for its command line, or for a Host block of
 * ssh_config(5). Where vmctl gave the guest its host key, it is pinned; else it is not checked, as
 * the address is on this host or given by the guest itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct cli;
struct error;
struct vm_record;
struct wakeup;

/* One keyword of ssh_config(5) and its value, quoted as that file wants it. */
struct ssh_option {
    const char *keyword; /* static */
    char *value;
};

struct ssh_login {
    struct ssh_option *options;
    size_t count;
};

/* `user` and `key` of the command line come before what the VM has; NULL: not given.
 * -ERR_VM_INVALID_STATE when the VM has no address. */
int ssh_login_init(struct ssh_login *login, struct cli *cli, const struct vm_record *record,
    const char *user, const char *key, struct error *err);
void ssh_login_clear(struct ssh_login *login);

/* Makes sure that SSH answers, for at most `timeout_ms`: returns as follow() does. An explicit user
 * or key may get in where the VM's own cannot, so with one that is not required. */
int ssh_login_await(
    struct cli *cli, const char *vm_name, bool is_explicit, int64_t timeout_ms, struct error *err);

struct ssh_call {
    const char *vm_name;
    const char *user, *key; /* NULL: not given */
    bool wants_terminal;
    const char *const *words; /* of the command, handed over as they are; none: a shell */
    size_t n_words;
};

/* The exit status when it was ssh that failed, not the command: ssh's own. */
enum { SSH_TRANSPORT_FAILED = 255 };

/* Waits until SSH answers, and makes the command line of ssh: ssh_login_free_argv() it. Returns as
 * follow() does. */
int ssh_login_prepare(
    struct cli *cli, const struct ssh_call *call, char ***ret_argv, struct error *err);
void ssh_login_free_argv(char **argv); /* NULL is fine */

/* Becomes ssh: returns only when that failed. */
int ssh_login_exec(struct cli *cli, const struct ssh_call *call, struct error *err);

/*
 * For a command that has something left to do after ssh: runs `argv` (ends with NULL) on our stdin,
 * stdout and stderr until it ends, or ends it when a signal comes that `wakeup` has caught. Returns
 * its exit status, 128 + the number of that signal, SSH_TRANSPORT_FAILED when another signal ended
 * it; or -ERR_SSH when it could not be started.
 */
int ssh_login_run(char *const *argv, struct wakeup *wakeup, struct error *err);

/* Appends the words as the guest's shell has to be given them to leave them as they are: ssh hands
 * it one line. */
void ssh_login_quote(struct buf *out, const char *const *words, size_t count);
