/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Which VMs need which images: by what is recorded of their disks, by what they are made from right
 * now in memory, and by what their specs ask for. Only the controller's loop knows all three at one
 * moment, which is why images are removed there and nowhere else: a VM takes an image up in a
 * callback of the same loop, so it is seen here, or comes after the removal and gets it anew.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/digest.h"

struct buf;
struct error;
struct reconciler_host;
struct vm_registry;

struct image_use;

struct image_users {
    struct image_use *uses;
    size_t count;
    char (*keys)[DIGEST_SIZE]; /* work keys of the images that specs ask for */
    size_t n_keys;
};

/* -ERR_STORE when a VM cannot be read: it may use any image. */
int image_users_collect(struct reconciler_host *host, const struct vm_registry *registry,
    struct image_users *ret, struct error *err);
void image_users_clear(struct image_users *users);

/* Appends the names of the VMs that use the file, with blanks between; none: nothing. */
void image_users_of(const struct image_users *users, const char *path, struct buf *out);
bool image_users_want(const struct image_users *users, const char *key);
