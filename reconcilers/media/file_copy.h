/* SPDX-License-Identifier: MPL-2.0 */
/* Copies of large files, on the pool: one shares its blocks with the file where the file system
 * can, and holes stay holes. Of files alone: a link is not followed, and a pipe not waited for. */
#pragma once

#include <stdatomic.h>

struct error;

/* A complete copy, or none. */
int file_copy(const char *from, const char *to, const atomic_bool *is_cancelled, struct error *err);

/* A complete copy that has no name yet; *ret_made is where it is, beside `to`. What cannot be
 * finished is removed. */
int file_copy_aside(const char *from, const char *to, char **ret_made,
    const atomic_bool *is_cancelled, struct error *err);
