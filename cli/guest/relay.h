/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Relays a program's output to our stdout if that is a file. ssh(1) exits with the guest's status
 * even if it could not write the output, on a full disk for example; relaying detects that. A
 * terminal or a pipe is inherited by the program.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct error;

struct relay {
    int input;  /* what the program wrote, not blocking; -1: nothing to relay, or not any more */
    int output; /* for its stdout, until relay_close_output(); STDOUT_FILENO: it has ours */
    int lost;   /* errno of the write that failed; 0: none */
};

/* Our stdout is a file, closed, or a device that is neither a terminal nor /dev/null. */
bool relay_is_wanted(void);

void relay_open(struct relay *relay);         /* for a program that is started next */
void relay_close_output(struct relay *relay); /* once it has been */

/* Writes the output available now. After a failure nothing reads the pipe: the program gets EPIPE.
 */
void relay_pass(struct relay *relay);

/* Passes on until the program has ended, which is left to be reaped. */
void relay_await(struct relay *relay, pid_t pid);

/* The program has ended: writes the rest. -ERR_IO when any of it was lost. */
int relay_close(struct relay *relay, struct error *err);
