/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Creates a file of a preparation: complete and synced, or absent. If killed before the rename, a
 * temporary file stays. The next preparation removes those first, so a cancelled one cannot rename
 * its file concurrently: its temporary file exists before it checks for the cancel.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

struct file_part {
    uint64_t at;
    const void *bytes;
    size_t n;
};

/* Replaces `path` by a file of `size` bytes, zeros but for its parts. The caller syncs the
 * directory. -ERR_IO, -ERR_NO_SPACE, -ERR_CANCELLED. */
int new_file_make(const char *path, mode_t mode, uint64_t size, const struct file_part *parts,
    size_t n_parts, const atomic_bool *is_cancelled, struct error *err);
