/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Removes cached images with their names, links and records; never one that a VM uses.
 *
 * Which VMs need which images follows from what is recorded of their disks, by what they are made
 * from right now in memory, and by what their specs ask for. Only the controller's loop knows all
 * three at one moment, which is why images are removed there and nowhere else: a VM takes an image
 * up in a callback of the same loop, so it is seen here, or comes after the removal and gets it
 * again.
 *
 * On the loop, at once: the file goes to the trash by a rename, and the links that
 * led to it go after it. Killed in between, links lead nowhere, which counts as not cached.
 */
#pragma once

#include <stdbool.h>

#include "controller/reconciler.h"
#include "specs/base/json.h"

struct error;
struct image_cache;

/* A VM needs the image file at `path`; NULL: none. */
typedef void image_pin_fn(void *context, const char *vm_name, const char *path);

/* The images that VMs were found or made from and that no record may have yet: `each` shows them.
 */
struct image_pins {
    void (*each)(void *source, image_pin_fn *pin, void *context);
    void *source;
};

struct image_removal {
    struct reconciler_host *host;
    struct image_pins pins;
    const struct image_cache *cache;
    const json_t *images; /* the image table */
    json_t *records;      /* gets a null under the key of each record that is to be removed */
};

/*
 * All of `digests` (array of sha256) or none. Puts into `answer` what went: removed [{sha256,
 * size}] and freed, bytes. -ERR_VM_CONFLICT: one is in use, by whom; -ERR_IMAGE_NOT_FOUND.
 */
int image_remove(
    const struct image_removal *removal, const json_t *digests, json_t *answer, struct error *err);

/* All that no VM uses, and the rests of downloads that no request needs any more (`downloads` of
 * them). With `is_dry_run` it only says so. */
int image_prune(
    const struct image_removal *removal, bool is_dry_run, json_t *answer, struct error *err);
