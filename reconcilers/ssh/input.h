/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The local file that a task sends to the guest: the user's, on a file system that may stop
 * answering (user_path.h). Then the task waits for it as it does for the guest, and no longer than
 * USER_STREAM_LIMIT_MS for the next byte.
 */
#pragma once

#include <stdbool.h>

#include "specs/base/user_path.h"

struct error;
struct loop_io;
struct loop_timer;
struct ssh_task;

/* Zero: not open. */
struct ssh_input {
    struct ssh_task *task; /* borrowed: it owns this */
    char *path;
    struct user_stream stream;
    struct loop_io *io;         /* NULL: it is not waited for */
    struct loop_timer *silence; /* how long it is */
    bool is_silent;
};

/* Runs `task` when there is more to read. -ERR_IO. */
int ssh_input_open(
    struct ssh_input *input, struct ssh_task *task, const char *path, struct error *err);
bool ssh_input_is_open(const struct ssh_input *input);

/* As read(2) of at least 2 bytes; -EAGAIN: the task is run when there is more, so it is blocked;
 * -ERR_IO with `err` set. */
ssize_t ssh_input_read(struct ssh_input *input, void *bytes, size_t n, struct error *err);

void ssh_input_close(struct ssh_input *input); /* twice is fine */
