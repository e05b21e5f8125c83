/* SPDX-License-Identifier: MPL-2.0 */
/*
 * When the bytes of a log came, in a file beside it, LOG.times: its log's inode, then pairs of an
 * offset and the wall clock at which the byte there was received. One pair a second at most, one a
 * minute once there are very many. It follows its log when that becomes the predecessor
 * (log_file.h), and counts for no other file: a log that was replaced has no times.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The path of a log's times. free() it. */
char *log_times_path(const char *log_path);

/* Of the one program that writes the log. Failing to write (a full disk) costs times only. */
struct log_times_writer {
    int fd; /* -1: none can be written */
    int64_t noted_ms;
};

void log_times_open(struct log_times_writer *writer, const char *log_path, int log_fd);
/* What is appended to the log next is received now. */
void log_times_note(struct log_times_writer *writer, int log_fd, int64_t wall_ms);
void log_times_close(struct log_times_writer *writer);

struct log_times {
    struct log_time {
        uint64_t offset;
        int64_t wall_ms;
    } * items; /* owned; offsets ascend */
    size_t count;
};

/* Those of the log with that inode; none when there are none for it. Frees what was read before. */
void log_times_read(struct log_times *times, const char *log_path, ino_t inode);
void log_times_clear(struct log_times *times);

/* When the byte at `offset` came, to a second (0: not known), and where bytes of another time begin
 * (UINT64_MAX: nowhere yet). */
int64_t log_times_at(const struct log_times *times, uint64_t offset, uint64_t *ret_end);

/* The offset of the first byte that came then or later, or less than a second before; UINT64_MAX:
 * none did. */
uint64_t log_times_since(const struct log_times *times, int64_t wall_ms);
