/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Short-lived helper programs (qemu-img, zoneadm) as operations: started by posix_spawn, watched
 * by pidfd, output captured. Done is when both facts are there, exit and end of output, in either
 * order; so a grandchild that keeps the pipe open cannot hide the exit for longer than the
 * deadline. SIGPIPE must be ignored: a child need not read its input.
 */
#pragma once

#include <spawn.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/loop/op.h"
#include "specs/base/error.h"

struct loop;

struct child_request {
    const char *const *argv; /* argv[0] is looked up in PATH; ends with NULL; copied */
    int64_t timeout_ms;      /* then SIGKILL, and `done` with ERR_TIMEOUT */
    uint64_t memory_max;     /* bytes of address space; 0: no limit of its own */
    size_t output_max;       /* bytes of stdout+stderr kept; more is read and dropped. 0: 64 KiB */
    const char *standard_input; /* written to it, then closed; NULL: /dev/null */
};

/* `output` is NUL-terminated, borrowed for the call. `err`: ERR_IO when it could not be started
 * (not installed: says so), ended by a signal or with a status other than 0: message has the last
 * line of output. */
typedef void child_done_fn(void *context, const struct error *err, const char *output);

/* Never fails: `done` reports what goes wrong. */
struct op *child_start(
    struct loop *loop, const struct child_request *request, child_done_fn *done, void *context);

/* For posix_spawn(3) of any child: default signals, none blocked, and its own group: a Ctrl-C meant
 * for vmctld in the foreground is not for it. posix_spawnattr_destroy() it. */
void child_attributes_init(posix_spawnattr_t *attributes);

/*
 * Reports the failure of a helper with the context and code of its caller. Sets `err` from what
 * `done` reported: "<context>: <its words>", with `code`; but a full disk is ERR_NO_SPACE (the
 * program says so in the words of strerror(3)). Returns -err->code.
 */
int child_error(struct error *err, enum error_code code, const struct error *child_err,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
