/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Whether the data directory may be worked in. Keys and disks are in it and whole directories of it
 * are deleted, so it must be this user's alone: what others own or can write may be theirs
 * tomorrow, and what root has left in a user's directory the user cannot remove.
 */
#pragma once

#include <stdbool.h>

struct error;
struct paths;

/*
 * ERR_STORE, naming the owner and the next command to type, when the directory or one of vmctl's
 * own entries of it belongs to another user (root's directory to a user, or a user's to root), can
 * be written by others, or is a symbolic link. The directory itself may be reached through one.
 * Likewise when every user can write to a directory above it.
 */
int data_trust_check(const struct paths *paths, struct error *err);

/*
 * ERR_STORE when another user than root owns a directory above it, or others can write to one that
 * is not sticky: they can rename what is in it. *ret_is_open: every user can. Without that it is
 * something to warn of: in a container, homes often belong to a user of the host.
 */
int data_trust_above(const struct paths *paths, bool *ret_is_open, struct error *err);
