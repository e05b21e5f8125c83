/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A change requested over HTTP, carried out by `vmctl VERB --detach VM`, or a picture of a screen,
 * by `vmctl screenshot VM -`. So the checks, the change and the output are the command's, and the
 * server itself never waits for the store's lock, for a vmctld to start, or for QEMU. The command
 * may be killed with the server: it changes all or nothing, and may be repeated.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct answer;
struct cli;
struct error;

enum { ACTION_LIMIT_S = 60 };

struct action {
    pid_t pid;
    int process_fd; /* pidfd: readable when it has ended */
    int output_fd;  /* what it printed */
    bool is_look;   /* it prints a picture */
};

int action_start(const struct cli *cli, const char *verb, const char *vm_name, struct action *ret,
    struct error *err);
void action_kill(const struct action *action);

/* In place of action_finish(): kills it and waits for its end. Closes output_fd; process_fd is the
 * caller's. */
void action_abandon(struct action *action);

/* Once it has ended: its document and exit status as an answer. Closes output_fd; process_fd is the
 * caller's. */
void action_finish(struct action *action, struct answer *ret);
