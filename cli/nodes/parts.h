/* SPDX-License-Identifier: MPL-2.0 */
/* Runs commands on several nodes at once, each as a child of this process. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/guest/ssh_login.h"
#include "specs/base/buf.h"

struct node;

struct part {
    const char *title; /* borrowed: what its lines begin with; NULL: nothing */
    struct ssh_argv argv;
    int input_fd;       /* its standard input, borrowed; -1: nothing */
    int64_t limit_ms;   /* 0: none */
    bool says_version;  /* over there, the output of `vmctl version` comes first */
    bool keeps_out;     /* its output is kept, whatever is printed */
    unsigned connect_s; /* for how long ssh may try; 0: ten seconds */
    struct buf out, err;
    struct buf last; /* line of stderr that was printed */
    bool is_late;    /* it was ended because of the limit */
    int status;      /* its exit status; 128 + the number of the signal that ended it */
    /* while it runs */
    pid_t pid;
    int fds[3]; /* stdout, stderr, pidfd */
};

/* The words of a vmctl of that node as one line for its shell, as a call of ssh. Never asks for a
 * password where nobody could answer. `project`: the VMFile over there is its standard input, and
 * this is what it is called (cli/nodes/spread.h); NULL: it gets none. */
void part_add_ssh(struct part *part, const struct node *node, bool wants_terminal,
    const char *project, const char *const *words);

/* Runs all until each has ended or is late. `prints`: their lines are printed as they come, stdout
 * to stdout and stderr to stderr, of which the last one is kept; else all are, in `out` and `err`.
 */
void parts_run(struct part *parts, size_t count, bool prints);
void parts_clear(struct part *parts, size_t count); /* and frees `parts`; NULL is fine */
