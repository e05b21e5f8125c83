/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Lock files by open-file-description locks (fcntl(2), F_OFD_SETLK): held through the
 * descriptor, inherited across fork and exec, released by the kernel with its last copy. So a lock
 * file held by a process is exact evidence that the process lives, whatever its pid. flock(2) is
 * not used: it cannot query a lock without trying to take it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;

/*
 * Takes the lock at `path` (made 0600 when missing). Returns 0 and *ret_fd (O_CLOEXEC), or
 * -ERR_VM_CONFLICT when another process holds it, or another error. Also checks that `path` still
 * names the locked file: its directory may have been renamed away meanwhile.
 */
int lockfile_take(const char *path, int *ret_fd, struct error *err);

/*
 * The same for `length` bytes of a permanent file (0: to its end, also when it grows): as many
 * locks as there are numbers, and nothing to remove after a holder was killed. -ERR_VM_CONFLICT
 * when another holds one of them.
 */
int lockfile_take_range(
    const char *path, uint64_t at, uint64_t length, int *ret_fd, struct error *err);

/* 1 when it is held, 0 when not (nor is it in a file that does not exist), or a negative error:
 * unknown. */
int lockfile_byte_is_held(const char *path, uint64_t at, struct error *err);

/* Whether the lock is held. Does not take it; a missing file is not held. */
bool lockfile_is_held(const char *path);
