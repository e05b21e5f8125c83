/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where an unpacked image goes: a new file, written in order, that leaves runs of zeros as holes (a
 * raw cloud image is mostly zeros). Stops the unpacking when the operation was cancelled.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct image_sink {
    int fd;
    const char *path; /* for messages; borrowed from the caller of image_sink_open() */
    uint64_t size;    /* bytes so far, holes included */
    const atomic_bool *is_cancelled; /* borrowed from the pool's work */
};

/* Makes `path` (must not exist). */
int image_sink_open(
    struct image_sink *sink, const char *path, const atomic_bool *is_cancelled, struct error *err);
/* -ERR_CANCELLED, -ERR_NO_SPACE, -ERR_IO. */
int image_sink_write(struct image_sink *sink, const void *bytes, size_t n, struct error *err);
/* Sets the final size and syncs. */
int image_sink_finish(struct image_sink *sink, struct error *err);
void image_sink_close(struct image_sink *sink); /* leaves the file; fine when it never opened */
