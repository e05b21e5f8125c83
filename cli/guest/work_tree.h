/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The current directory in a guest, for a job (`run --sync`): copied to WORK_TREE in the user's
 * home there, and what is new or changed there copied back, by rsync(1) on both sides.
 *
 * What comes back is files and directories of the current directory: neither owners nor modes but
 * whether a file may be executed, no symbolic link that leads out of it, nothing over a file that
 * is newer here; and nothing is deleted here.
 */
#pragma once

#include <stdbool.h>

struct cli;
struct error;
struct ssh_call;
struct wakeup;

#define WORK_TREE "work"

/* -ERR_USAGE: this host has no rsync. To be found out before a VM is made. */
int work_tree_check(struct error *err);

/* As ssh_login_run() of the call's VM, user and key: 0, the exit status of a signal, what follow()
 * returns; or -ERR_SSH when rsync failed, which has said why. */
int work_tree_push(
    struct cli *cli, const struct ssh_call *call, struct wakeup *wakeup, struct error *err);
/* Says what came, at most some dozen names; of a failure how to get at it. */
int work_tree_pull(
    struct cli *cli, const struct ssh_call *call, struct wakeup *wakeup, struct error *err);

/* Parses a line of rsync's `--out-format=%i %n`: returns the name of a copied file or symbolic
 * link, and whether it is new. Borrowed; NULL: any other line. */
const char *work_tree_copied(const char *line, bool *ret_is_new);
