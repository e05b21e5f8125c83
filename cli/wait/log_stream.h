/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A log file of a VM, read as it grows. The file may not exist yet, be emptied, or be replaced by a
 * new one (specs/base/log_file.h): then reading starts over at its beginning. What a guest wrote
 * passes cli/show/screen_filter.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/show/screen_filter.h"
#include "specs/base/log_times.h"

struct buf;

struct log_stream {
    char *path;
    char *newer;  /* to be read behind `path`, which is its predecessor; NULL: none */
    char *prefix; /* in front of every line; NULL: none */
    int64_t offset;
    dev_t device;
    ino_t inode;
    struct screen_filter filter;
    bool is_within_line;
    /* The rest is for `shows_times`, set after opening: each line begins with when it came, or "-".
     */
    bool shows_times;
    bool is_live; /* what came before is read: what comes without a time comes now */
    struct log_times times;
    int64_t came_ms; /* of what was read last; 0: not known */
};

/* From the end of what is there now, or from the beginning of its predecessor. `prefix` is copied,
 * may be NULL. */
void log_stream_open(
    struct log_stream *stream, const char *path, const char *prefix, bool is_at_end);
/* Moves the start to `lines` lines before the end. 0: leaves it. */
void log_stream_seek_tail(struct log_stream *stream, uint32_t lines);
/* Moves the start to the line that was being written then; never backwards. False: the log holds
 * something, and nobody wrote down when it came. */
bool log_stream_seek_time(struct log_stream *stream, int64_t wall_ms);
void log_stream_close(struct log_stream *stream);

/* Appends a part of what came since the last time, about 16 KiB at most: there is no more only when
 * it returns false, having appended nothing. */
bool log_stream_read(struct log_stream *stream, struct buf *out);

/* No more will be read: appends what ends the last line. */
void log_stream_end(struct log_stream *stream, struct buf *out);
