/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Shutting down a QEMU that vmctl did not start, over its QMP socket (QEMU's
 * docs/interop/qmp-spec.rst): for `vmctl import --stop`. Everything else talks QMP in vmctld.
 */
#pragma once

#include <stdint.h>

struct error;

/*
 * Resumes the guest if it is paused, asks it to shut down and waits `grace_ms`, then tells QEMU to
 * quit. Returns when QEMU has closed the socket, as it does when it ends. -ERR_QMP_CONNECT: nobody
 * answers there. -ERR_TIMEOUT: it did not quit either.
 */
int qmp_stop(const char *socket_path, int64_t grace_ms, struct error *err);
