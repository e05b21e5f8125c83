/* SPDX-License-Identifier: MPL-2.0 */
/*
 * To whom a VM belongs that is to go with its owner (`vmctl run --rm`): a number, and the lock of
 * that byte in DATA/owners.lock, which the owner holds while it lives. However it ends, the kernel
 * lets go of the lock; so the controller need only look. Neither pid nor boot id could be mistaken
 * for another's, and nothing is left behind.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;
struct paths;

/* Makes this process an owner until *ret_fd (O_CLOEXEC) is closed. The number is never 0. */
int owner_lock_take(const struct paths *paths, uint64_t *ret_owner, int *ret_fd, struct error *err);

/* Whether the owner has ended, for sure: what cannot be found out now is no. */
bool owner_lock_is_gone(const struct paths *paths, uint64_t owner);
