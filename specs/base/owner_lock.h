/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The owner of a VM that is removed with it (`vmctl run --rm`): a number, and the lock of that byte
 * in DATA/owners.lock, which the owner holds while it lives. However the owner ends, the kernel
 * releases the lock, so the controller only has to query it. Unlike a pid, the number is never
 * reused, and nothing is left behind.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;
struct paths;

/* Makes this process an owner until *ret_fd (O_CLOEXEC) is closed. The number is never 0. */
int owner_lock_take(const struct paths *paths, uint64_t *ret_owner, int *ret_fd, struct error *err);

/* Whether the owner has certainly ended; false when that cannot be determined. */
bool owner_lock_is_gone(const struct paths *paths, uint64_t owner);
