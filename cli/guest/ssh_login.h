/* SPDX-License-Identifier: MPL-2.0 */
/* How ssh(1) gets into a guest, with the keys that this user has now: the options for its command
 * line, or for a Host block, and the call itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/vm/ssh_options.h"

struct arg_strings;
struct buf;
struct cli;
struct error;
struct vm_record;
struct wakeup;

struct ssh_login {
    struct ssh_options options;
    bool uses_agent; /* which no option says: ssh(1) uses the one of $SSH_AUTH_SOCK by itself */
    bool is_foreign; /* a guest without cloud-init or `ssh`, and no key was given: most refuse us */
};

/* `user` and `key` of the command line come before what the VM has; NULL: not given.
 * -ERR_VM_INVALID_STATE when the VM has no address. */
int ssh_login_init(struct ssh_login *login, struct cli *cli, const struct vm_record *record,
    const char *user, const char *key, struct error *err);
void ssh_login_clear(struct ssh_login *login);

/* Makes sure that SSH answers, for at most `timeout_ms`: returns as follow() does. An explicit user
 * or key, an agent or a user at a terminal may get in where the controller's keys cannot, so that a
 * guest which refuses those is no error then. */
int ssh_login_await(
    struct cli *cli, const char *vm_name, bool is_explicit, int64_t timeout_ms, struct error *err);

struct ssh_call {
    const char *vm_name;
    const char *user, *key;            /* NULL: not given */
    const struct arg_strings *options; /* of --ssh-opt; NULL: none */
    bool wants_terminal;
    const char *const *words; /* of the command, handed over as they are; none: a shell */
    size_t n_words;
};

/* The exit status when it was ssh that failed, not the command: ssh's own. */
enum { SSH_TRANSPORT_FAILED = 255 };

struct ssh_argv {
    char **words; /* ends with NULL; owned */
    size_t count;
};
void ssh_argv_add(struct ssh_argv *argv, char *word_take);
void ssh_argv_clear(struct ssh_argv *argv);

/*
 * Begins the command line of `program`, ssh or scp: the user's own options, which come first
 * because ssh takes the first value, then those of the login. ssh_config(5) takes no part: what is
 * in it is meant for other hosts; nor does an agent where the guest knows the VM's own key. An
 * option of --ssh-opt is "Keyword=value", or begins with a dash ("-L8080:localhost:80").
 */
void ssh_argv_begin(struct ssh_argv *argv, const char *program, const struct ssh_login *login,
    const struct arg_strings *options);

/* Waits until SSH answers, and finds out how it gets in; returns as follow() does. */
int ssh_login_prepare(
    struct cli *cli, const struct ssh_call *call, struct ssh_login *login, struct error *err);

/* Executes ssh in this process: returns only on failure. Runs ssh as a child and returns its exit
 * status if vmctl did not set the guest up, to add a help to a refusal, and if stdout is a file
 * without interactive input: -ERR_IO when it could not be written (relay.h). */
int ssh_login_exec(struct cli *cli, const struct ssh_call *call, struct error *err);

/*
 * Runs the one word of `call` as a command in the guest, by an ssh on our stdin, stdout and stderr,
 * until it ends; without a word an ssh that only does what its options say. When a signal comes
 * that `wakeup` has caught, the command is ended in the guest with all it started; with a terminal
 * that is the guest's sshd's work. Returns its exit status, 128 + the number of that signal,
 * SSH_TRANSPORT_FAILED when another signal ended ssh; as follow() does when the guest does not
 * answer, -ERR_IO when our stdout is a file that could not be written, or -ERR_SSH when ssh could
 * not be started.
 */
int ssh_login_run(
    struct cli *cli, const struct ssh_call *call, struct wakeup *wakeup, struct error *err);

/* Appends the words as the guest's shell has to be given them to leave them as they are: ssh hands
 * it one line. */
void ssh_login_quote(struct buf *out, const char *const *words, size_t count);
