/* SPDX-License-Identifier: MPL-2.0 */
#pragma once

#include "reconcilers/backend/qemu/argv.h"

/* All made before the fork, for the child must not allocate. */
struct child_plan {
    char *const *argv;                    /* argv[0] is an absolute path */
    int fds[QEMU_FD_END_ - QEMU_FD_LOCK]; /* to become QEMU_FD_LOCK, …; -1: stays closed */
    int log_fd;
    int start_pipe; /* the child's end */
};

/*
 * The child's life between fork and exec: own session, working directory "/", umask 077, only the
 * planned descriptors. Then it waits for the word; without it, it exits 0. Async-signal-safe calls
 * only (signal-safety(7)).
 */
_Noreturn void spawn_child_run(const struct child_plan *plan);
