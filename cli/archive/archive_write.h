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

/* What it has besides settings, keys and seed. */
struct archive_content {
    bool disk, volumes;
};

/* Of a snapshot without a file the VM's present ones, which must be off meanwhile. Reads them into
 * unnamed files of the data directory. archive_parts_clear() it, also after an
 * error. -ERR_NO_SPACE, -ERR_OVERLAY, -ERR_IO; -ERR_VM_INVALID_STATE: volumes of a VM that runs;
 * -ERR_OVERLAY also when the file of one that was used is gone. */
int archive_collect(struct cli *cli, const struct origin *origin, struct archive_content content,
    struct archive_parts *ret, struct error *err);
/* Says what the guest has and no import will bring back. */
void archive_note_left_out(const struct cli *cli, const struct manifest *manifest);
/* The archive, to a file or a pipe. */
int archive_write(
    const struct cli *cli, const struct archive_parts *parts, int fd, struct error *err);
void archive_parts_clear(struct archive_parts *parts);
