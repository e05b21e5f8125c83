/* SPDX-License-Identifier: MPL-2.0 */
/*
 * qemu.log: QEMU's stdout and stderr, instance after instance, each under a line
 * "vmctl: TIME instance ID: COMMAND". Bounded, see specs/base/log_file.h: at each start, and while
 * QEMU runs by machine.c.
 */
#pragma once

#include <stdint.h>

struct error;

enum { QEMU_LOG_MAX = 1 << 20 };

/* Opens the log for a new instance and writes the headline. Caller closes *ret_fd (O_APPEND). */
int qemu_log_open(const char *path, int64_t wall_ms, const char *instance_id, char *const *argv,
    int *ret_fd, struct error *err);

/* The last informative line of the last instance, made safe to show; NULL: none. free() it. */
char *qemu_log_last_line(const char *path);
