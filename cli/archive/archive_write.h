/* SPDX-License-Identifier: MPL-2.0 */
/* Writing an export: the files of a VM are collected, then written behind their manifest. */
#pragma once

#include <stdbool.h>

#include "cli/archive/manifest.h"
#include "cli/archive/unnamed.h"

struct cli;
struct error;
struct origin;

struct archive_parts {
    struct manifest manifest;
    struct unnamed files[MANIFEST_MEMBERS_MAX]; /* of its members */
};

enum archive_content { ARCHIVE_SETTINGS, ARCHIVE_DISK, ARCHIVE_VOLUMES }; /* and those before it */

/* Reads the keys and the seed, the disk and the volumes into unnamed files of the data directory.
 * archive_parts_clear() it, also after an error. -ERR_NO_SPACE, -ERR_OVERLAY, -ERR_IO. */
int archive_collect(struct cli *cli, const struct origin *origin, enum archive_content content,
    struct archive_parts *ret, struct error *err);
/* The archive, to a file or a pipe. */
int archive_write(
    const struct cli *cli, const struct archive_parts *parts, int fd, struct error *err);
void archive_parts_clear(struct archive_parts *parts);
