/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Reading an export. All of it is unpacked into unnamed files and compared with its manifest before
 * anything gets a name; then it becomes a directory of DATA/imports (specs/vm/vm_import.h), for the
 * controller to make a VM of.
 */
#pragma once

#include "cli/archive/manifest.h"
#include "cli/archive/unnamed.h"
#include "specs/base/text.h"

struct cli;
struct error;

struct archive {
    struct tar_reader *reader;
    const char *title; /* in messages; borrowed */
    struct manifest manifest;
    char *project; /* that its volumes become those of; NULL: none. Set behind archive_open() */
    struct unnamed files[MANIFEST_MEMBERS_MAX]; /* of its members */
    uint64_t disk_bytes;                        /* as the guest sees it */
    char id[TEXT_ID_SIZE]; /* its directory, once it is published; "": it is not */
    void (*report)(void *context, int percent); /* while it is unpacked; NULL: nobody */
    void *context;
    int lock_fd; /* which holds it until the VM is recorded; -1: none */
};

/* Whether the file begins as an archive does; false also where it cannot be read. A pipe, whose
 * beginning is read only once, is taken for one. */
bool archive_is_one(const char *path);

/* Reads its manifest; `title` is its name in messages. archive_clear() it, also after an error.
 * -ERR_ARCHIVE. */
int archive_open(int fd, const char *title, struct archive *ret, struct error *err);
/* Whether that many bytes of the VM's files fit into the data directory. -ERR_NO_SPACE. */
int archive_check_room(const struct cli *cli, const char *vm, uint64_t bytes, struct error *err);
/* All else. -ERR_ARCHIVE, -ERR_NO_SPACE, -ERR_VM_CONFLICT: it brings a volume whose name is taken.
 */
int archive_unpack_all(const struct cli *cli, struct archive *archive, struct error *err);
/* That unpacked member is the disk, or a volume: it must lead to no other file. -ERR_ARCHIVE. */
int archive_note_disk(struct archive *archive, size_t i, struct error *err);
/* -ERR_VM_CONFLICT: a member is a volume whose name is taken. */
int archive_check_volumes(const struct cli *cli, const struct archive *archive, struct error *err);
int archive_publish(const struct cli *cli, struct archive *archive, struct error *err);
/* Removes what was published and is not to become a VM's. */
void archive_withdraw(const struct cli *cli, const struct archive *archive);
void archive_clear(struct archive *archive);
