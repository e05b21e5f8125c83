/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Room on the disk kept aside for what frees a full one: DATA/reserve, a file of a few MiB. vmctld
 * makes it while there is plenty. Only a change that frees room (stop, destroy, image rm) gives it
 * up, when it is out of room, and tries again.
 */
#pragma once

#include <stdbool.h>

struct error;
struct paths;

/* Makes the file if it is missing and the disk has room for it many times over. */
void reserve_keep(const struct paths *paths);

/* Call after a change failed with `err`: if the disk was full and reserved space was released,
 * clears `err` and returns true; try once more then. */
bool reserve_give_up(const struct paths *paths, struct error *err);
