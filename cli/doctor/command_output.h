/* SPDX-License-Identifier: MPL-2.0 */
/* The standard output of another program, such as `qemu --version`, within a time limit. */
#pragma once

struct buf;

/*
 * Runs `argv` (ends with NULL; argv[0] is searched in PATH) with nothing on stdin and its stderr
 * thrown away. Returns its exit status and appends what it wrote, up to the buffer's maximum; or -1
 * when it could not be run, was ended by a signal, or took longer than `limit_ms` and was killed.
 */
int command_output(char *const *argv, int limit_ms, struct buf *out);
