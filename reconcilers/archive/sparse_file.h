/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Writes an unpacked image to a new file, in order, hashes it on the way, and leaves runs of zeros
 * as holes (a raw cloud image is mostly zeros). Stops the unpacking when the operation is
 * cancelled.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct digest;
struct error;

struct image_sink {
    int fd;
    const char *path;      /* for messages; borrowed from the caller of image_sink_open() */
    struct digest *digest; /* of what was written */
    uint64_t size;         /* bytes written so far, including holes */
    uint64_t checked_size; /* … when free space was last checked */
    const atomic_bool *is_cancelled; /* borrowed from the pool's work; set before each write */
};

/* Creates `path` (must not exist). */
int image_sink_open(struct image_sink *sink, const char *path, struct error *err);
/* -ERR_CANCELLED, -ERR_NO_SPACE (before the disk is full), -ERR_IMAGE_FORMAT (not a disk, by its
 * first bytes, or longer than 1 TiB), -ERR_IO. */
int image_sink_write(struct image_sink *sink, const void *bytes, size_t n, struct error *err);
/* Sets the final size. fs_publish() syncs. */
int image_sink_finish(struct image_sink *sink, char *ret_sha256, struct error *err);
void image_sink_close(
    struct image_sink *sink); /* keeps the file; may be called when it was not opened */
