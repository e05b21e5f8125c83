/* SPDX-License-Identifier: MPL-2.0 */
/* `get --watch`: VMs printed as they are, and again whenever they change. */
#pragma once

struct cli;
struct error;
struct targets;

/*
 * Prints in cli->output's format those of `targets`, or all VMs for NULL, on stdout, until a signal
 * or the end of the reader. Two changes between two looks are one. Returns what run() of a command
 * is to return: 130 after Ctrl-C.
 */
int vm_watch(struct cli *cli, const struct targets *targets, struct error *err);
