/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The status of cloud-init in a guest: the query, a command for any POSIX shell, and the parser of
 * its answer. It reads the files that `cloud-init status` reads (docs.cloudinit.io,
 * "Status"), without starting Python in a guest that boots. Pure.
 */
#pragma once

#include <stddef.h>

struct cloud_init_report;

/* Prints one word, for a cloud-init that has begun with its status.json behind it. Its argument:
 * how many tenths of a second it waits for the end of a cloud-init that runs. */
extern const char cloud_init_query[];

enum { CLOUD_INIT_ANSWER_MAX = 64 * 1024 };

/*
 * A missing answer (no POSIX shell, nothing printed) reads as CLOUD_INIT_ABSENT: a cloud-init that
 * cannot be queried is not waited for. The report owns its message.
 */
void cloud_init_report_read(const char *answer, size_t n, struct cloud_init_report *ret);
