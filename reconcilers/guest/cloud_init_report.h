/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What cloud-init says of itself in a guest: the question, a command for any POSIX shell, and the
 * reading of its answer. It reads the files that `cloud-init status` reads (docs.cloudinit.io,
 * "Status"), without starting Python in a guest that boots. Pure.
 */
#pragma once

#include <stddef.h>

struct cloud_init_report;

/* Prints one word, for a cloud-init that has begun with its status.json behind it. */
extern const char cloud_init_question[];

enum { CLOUD_INIT_ANSWER_MAX = 64 * 1024 };

/*
 * An answer that is none (no POSIX shell, nothing printed) reads as CLOUD_INIT_ABSENT: nobody waits
 * for what cannot be asked. The report owns its message.
 */
void cloud_init_report_read(const char *answer, size_t n, struct cloud_init_report *ret);
