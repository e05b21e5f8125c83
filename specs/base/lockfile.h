/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Lock files by open-file-description locks (fcntl(2), F_OFD_SETLK): held by whoever has the
 * descriptor, inherited across fork and exec, released by the kernel with its last copy. So a lock
 * file held by a process is an exact oracle of whether it lives, whatever its pid.
 * flock(2) is not used: it has no way to ask without trying to take.
 */
#pragma once

#include <stdbool.h>

struct error;

/*
 * Takes the lock at `path` (made 0600 when missing). Returns 0 and *ret_fd (O_CLOEXEC), or
 * -ERR_VM_CONFLICT when another process holds it, or another error. Also checks that `path` still
 * names the locked file: its directory may have been renamed away meanwhile.
 */
int lockfile_take(const char *path, int *ret_fd, struct error *err);

/* Whether anyone holds the lock. Asks without taking; a missing file is not held. */
bool lockfile_is_held(const char *path);
