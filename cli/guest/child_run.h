/* SPDX-License-Identifier: MPL-2.0 */
/* A program that a command runs as its child, and ends when a signal is to end itself. */
#pragma once

#include <sys/types.h>

struct relay;
struct wakeup;

/* `fds` become its stdin, stdout and stderr; NULL: it has ours. Signals reach it that `wakeup`
 * caught. 0, or an errno. child_await() it. */
int child_spawn(char *const *argv, const struct wakeup *wakeup, const int fds[3], pid_t *ret_pid);

/* Its exit status; -1: a signal ended it. `relay` passes on what it writes meanwhile; NULL: none.
 * When one comes that `wakeup` has caught, that is *ret_signal (0: none), the child is ended, and
 * the status is wakeup_exit_status() of it. */
int child_await(pid_t pid, struct wakeup *wakeup, struct relay *relay, int *ret_signal);
