/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What is in the image cache, as `vmctl image list -o json` prints it: read from its files and from
 * the store, without the controller. An array, sorted by name, of objects:
 *   name, names [...], sha256, path, size, format, virtualSize, urls [...], downloadedAt, usedBy
 *   [...], state "cached"
 * and of those that are being downloaded: name, names [], urls [...], usedBy [...], state
 * "getting",
 *   progress {phase, have, total, …} as in specs/image/image_request.h
 */
#pragma once

#include "specs/base/json.h"

struct cli;
struct error;

/* Opens the store. `session`: of the vmctld that runs, "" none. Caller owns *ret. */
int image_catalog_read(struct cli *cli, const char *session, json_t **ret, struct error *err);

/* Returns the cached image with that name, digest, or digest prefix (of IMAGE_DIGEST_SHOWN digits
 * at least). Borrowed. -ERR_IMAGE_NOT_FOUND, also for an image that is still being downloaded;
 * -ERR_USAGE if several match. */
int image_catalog_find(
    const json_t *catalog, const char *word, const json_t **ret, struct error *err);
