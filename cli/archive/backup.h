/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A directory of backups. Each is two files:
 *
 *   NAME-DATE-full.qcow2, NAME-DATE-inc.qcow2   the disk; an incremental one is on that before it
 *   NAME-DATE-full.vmctl, …                     the settings and keys, an archive as an export is;
 *                                               its manifest has the disk's name, size and SHA-256
 *
 *   NAME-DATE-full.data.qcow2, …                a volume of a VM that ran, as the disk; one that is
 *                                               all of it may be beside an incremental disk
 *
 * The settings are made last: a disk without it is of a backup that was not finished, and counts as
 * not there. Files are named to each other without their directory, so that it can be moved.
 */
#pragma once

#include <stdbool.h>

#include "cli/archive/manifest.h"

struct archive;
struct cli;
struct error;

#define BACKUP_SETTINGS ".vmctl"
#define BACKUP_DISK ".qcow2"

/* Files on each other at most: programs that read the last open all of them. */
enum { BACKUP_CHAIN_MAX = 100 };

struct backup {
    char *directory;
    char *path; /* of its settings; NULL: none was found */
    struct manifest manifest;
};
void backup_clear(struct backup *backup);

/* Finds the last backup of this VM or, with `vm` NULL, of the only VM that the directory has
 * backups of: the newest that no other depends on. Returns 0 and a path, or NULL if there is none.
 * -ERR_USAGE: the directory has several VMs; else as archive_open(). */
int backup_find_last(const char *directory, const char *vm, struct backup *ret, struct error *err);

/* Looks whether each file that the backup's disk consists of is there, as long as it was, and on
 * the right one; with `volume` that volume's, which manifest_disk_of() has. `ret_length`: how many,
 * NULL: not wanted. -ERR_ARCHIVE, or -ERR_IO. */
int backup_check(const struct cli *cli, const struct backup *backup, const char *volume,
    size_t *ret_length, struct error *err);
/* "NAME-DATE-full.qcow2", "NAME-DATE-full.data.qcow2": of a backup's files, whose names begin so.
 * free() it. */
char *backup_disk_name(const char *stem, const char *volume);

/* Adds the disk of the backup that the archive is of, which is in that directory, to its unpacked
 * members, and its volumes that are files there. All of each is read, and has to have the SHA-256
 * that it had. -ERR_ARCHIVE, -ERR_NO_SPACE, -ERR_OVERLAY; -ERR_VM_CONFLICT: there is a volume of
 * that name. */
int backup_unpack_disk(
    const struct cli *cli, const char *directory, struct archive *archive, struct error *err);
