/* SPDX-License-Identifier: MPL-2.0 */
/* Reads the logs of a VM from their files: the output of its serial console and of its provision
 * steps. */
#pragma once

#include <stdint.h>

struct buf;
struct paths;
struct route;

enum { LOG_TAIL_MAX = 64 << 10, LOG_PIECE_MAX = 16 << 10 };

/* Appends the last LOG_TAIL_MAX bytes, from the log before it if this one is shorter; nothing if
 * there is none (log_file_read_tail()). */
void log_tail_read(const struct paths *paths, const struct route *route, struct buf *out);

/* The position at which the last LOG_TAIL_MAX bytes begin; 0: there is no log. */
uint64_t log_tail_begin(const struct paths *paths, const struct route *route);

/* Appends at most LOG_PIECE_MAX bytes from *at on, and moves *at behind them; to the beginning of a
 * log that is shorter now. Nothing of one that cannot be read. */
void log_tail_add(
    const struct paths *paths, const struct route *route, uint64_t *at, struct buf *out);
