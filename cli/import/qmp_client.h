/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A blocking QMP client for the few words that a command has with a QEMU which vmctld does not know
 * yet (QEMU's docs/interop/qmp-spec.rst). Everything else talks QMP in vmctld.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "specs/base/buf.h"
#include "specs/base/json.h"

struct error;

struct qmp_client {
    const char *path; /* borrowed: for messages */
    int fd;           /* -1: none */
    int64_t deadline_ms;
    struct buf input;
};

/* Connects and negotiates; everything, later commands too, has to be over in `timeout_ms`.
 * -ERR_QMP_CONNECT: nobody answers; QEMU serves one client at a time. qmp_client_close() *ret. */
int qmp_client_open(
    const char *path, int64_t timeout_ms, struct qmp_client *ret, struct error *err);
void qmp_client_close(struct qmp_client *client); /* one that is all zero is fine, too */

/* Who listens there (unix(7), SO_PEERCRED); 0: unknown. */
pid_t qmp_client_peer(const struct qmp_client *client);

/* `arguments_take` may be NULL; `fd` goes along (SCM_RIGHTS), -1: none. *ret, json_decref() it, may
 * be NULL. -ERR_QMP_COMMAND: QEMU refused. -ERR_QMP_CONNECT: it went away, or does not answer. */
int qmp_client_execute(struct qmp_client *client, const char *command, json_t *arguments_take,
    int fd, json_t **ret, struct error *err);
