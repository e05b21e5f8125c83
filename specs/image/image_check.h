/* SPDX-License-Identifier: MPL-2.0 */
/* Checks whether a user's file is an image for VMs, as vmctld does before it uses one, and `vmctl
 * image inspect` and `validate` early. */
#pragma once

#include "specs/image/image_inspect.h"

struct image_found {
    enum compression compression;
    const struct image_foreign *foreign; /* another hypervisor's format; NULL: none */
    struct image_info info; /* zero of one that is compressed or foreign: see what it becomes */
};

/* `machine`: the processor it has to be for, NULL: the host's. Blocks, and reads an image's tables,
 * never its data. -ERR_IMAGE_NOT_FOUND, -ERR_IO, -ERR_IMAGE_FORMAT (also an image that stands on
 * another user's file, or whose data is in another file), -ERR_IMAGE_DECOMPRESS. */
int image_check_file(
    const char *path, const char *machine, struct image_found *ret, struct error *err);
