/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Gets the checksum that the publisher of an image by name lists for it (specs/image/image_sums.h),
 * before each download of the image.
 */
#pragma once

#include "controller/loop/op.h"

struct multi;
struct oci_layer;
struct proxies;

struct published_file {
    const char *name; /* of the image, for messages */
    const char *url;  /* of the file */
    const char *sums; /* of the list */
};

/* Fills in the layer: url, title, and digest or sha512, before `done`. What `file` has is copied.
 * -ERR_IMAGE_NOT_FOUND: the list is gone, or does not have the file; -ERR_IMAGE_DOWNLOAD. */
struct op *published_find(struct multi *multi, const struct published_file *file,
    const struct proxies *proxies, struct oci_layer *layer, op_done_fn *done, void *context);

/* "sha512:…", of such a layer. free() it. */
char *published_text(const struct oci_layer *layer);
