/* SPDX-License-Identifier: MPL-2.0 */
/* ssh beside us, where a command has something left to do after it (`ssh` and `exec` become ssh). */
#pragma once

struct error;
struct wakeup;

/*
 * Runs `argv` (ends with NULL) on our stdin, stdout and stderr until it ends, or until one of the
 * signals comes that `news` has caught: then it is ended, too. Returns its exit status, 128 + the
 * number of that signal, SSH_TRANSPORT_FAILED when another signal ended it; or -ERR_SSH when it
 * could not be started.
 */
int ssh_child_run(char *const *argv, struct wakeup *wakeup, struct error *err);
