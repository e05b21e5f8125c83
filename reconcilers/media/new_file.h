/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A file that a preparation makes: whole and synced, or not there. Killed before the rename, it
 * leaves a temporary file. The preparation that follows removes those first, so one that was
 * cancelled cannot give a file its name behind the other's back: its temporary file is there before
 * it looks whether it is cancelled.
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
