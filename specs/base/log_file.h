/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Log files of bounded size: a log that reaches the limit becomes its predecessor, LOG.1, which
 * replaces the previous one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

/* The path of a log's predecessor. free() it. */
char *log_file_predecessor(const char *path);

/* For a log that nobody has open for writing: makes one of more than `max` bytes the predecessor.
 * Returns the size of the log then; 0 when there is none. */
int64_t log_file_begin(const char *path, int64_t max);

/*
 * For a log that another process writes with O_APPEND: once it has more than `max` bytes, its last
 * `max` become the predecessor and the log is emptied. What is written in between, a few
 * microseconds, is lost. The log is emptied, too, when its bytes cannot be copied (-ERR_IO).
 * Killed anywhere, it is done again. May take as long as it takes to write `max` bytes.
 */
int log_file_rotate(const char *path, int64_t max, struct error *err);

/* Reads the last `n` bytes, of the predecessor where the log itself is shorter. Returns how many
 * there are; -1: no such regular file. */
ssize_t log_file_read_tail(const char *path, void *bytes, size_t n);
