/* SPDX-License-Identifier: MPL-2.0 */
/* Makes an ISO 9660 image with Rock Ridge and Joliet in memory, using libarchive. */
#pragma once

#include <stddef.h>

struct buf;
struct error;

struct iso_file {
    const char *name;
    const void *bytes;
    size_t n;
};

/* Appends the image to `out`. -ERR_SEED, -ERR_NO_SPACE (libarchive keeps a temporary file). */
int iso_write(const char *volume_id, const struct iso_file *files, size_t n_files, struct buf *out,
    struct error *err);
