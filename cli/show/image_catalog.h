/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What is in the image cache, as `vmctl image list -o json` prints it: read from its files and from
 * the store, without the controller. An array, sorted by name, of objects:
 *   name, names [...], sha256, path, size, format, virtualSize, urls [...], downloadedAt, usedBy
 * [...]
 */
#pragma once

#include "specs/base/json.h"

struct cli;
struct error;

/* Opens the store. Caller owns *ret. */
int image_catalog_read(struct cli *cli, json_t **ret, struct error *err);

/* The one image of that name, digest, or first digits of a digest (IMAGE_DIGEST_SHOWN at least).
 * Borrowed. -ERR_IMAGE_NOT_FOUND, -ERR_USAGE when several have the name. */
int image_catalog_find(
    const json_t *catalog, const char *word, const json_t **ret, struct error *err);
