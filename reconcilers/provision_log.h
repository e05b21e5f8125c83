/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One step's part of provision.log: a header line, the output as it comes, a footer line. The file
 * is appended to (0600), so that a reader may follow it. Failing to write (a full disk) does not
 * stop a step: the guest's work is worth more than its record.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "specs/vm_spec.h"

struct error;
struct loop;
struct provision_log;

int provision_log_open(struct loop *loop, const char *path, uint32_t index, uint32_t total,
    struct provision_log **ret, struct error *err);

/* `what`: the command or the local file; `destination` may be NULL. */
void provision_log_header(
    struct provision_log *log, enum step_kind kind, const char *what, const char *destination);

/* Raw bytes of the guest; beyond PROVISION_LOG_STEP_MAX they are dropped and a line says so. */
void provision_log_output(struct provision_log *log, const char *bytes, size_t n);

/* Writes the footer ("done in 0.4 s", or the failure) and closes. NULL log is fine. */
void provision_log_close(struct provision_log *log, const char *failure);
