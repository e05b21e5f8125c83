/* SPDX-License-Identifier: MPL-2.0 */
/*
 * manifest.json, the first member of an export: what the others are and what VM they were. Another
 * vmctl wrote it, or an attacker: what is read from it is bounded, and names no file of this host.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/archive/tar_header.h"
#include "specs/base/digest.h"
#include "specs/base/json.h"
#include "specs/vm/vm_spec.h"
#include "specs/vm/vm_status.h"

struct buf;
struct cli;
struct error;

#define MANIFEST_NAME "manifest.json"
enum {
    MANIFEST_FORMAT = 1,
    MANIFEST_BYTES_MAX = 4 << 20,
    MANIFEST_MEMBERS_MAX = 16,
};

struct manifest_member {
    struct tar_member tar;
    char sha256[DIGEST_SIZE];
};

/* Of a backup, whose disk, and each volume of a VM that ran, is a file of its own beside the
 * archive: backup.h. */
struct manifest_disk {
    char *volume; /* its name, without a project; NULL: the VM's disk */
    char *file;   /* its name, in the same directory; NULL: the disk is a member, or nothing yet */
    uint64_t bytes;
    char sha256[DIGEST_SIZE];
    char *parent;                    /* the file that it is on; NULL: it has all of the disk */
    char bitmap[SNAPSHOT_NAME_SIZE]; /* began with it: vm_snapshot.h */
    char uid[TEXT_ID_SIZE];          /* of the VM */
};

struct manifest {
    char *vm;                     /* its name when it was exported */
    int64_t created_ms;           /* wall */
    char *mac;                    /* NULL: it had none */
    struct vm_spec *spec;         /* owned */
    struct vm_snapshot *snapshot; /* owned: what was recorded of the disk; its files' name is "" */
    struct manifest_member members[MANIFEST_MEMBERS_MAX]; /* in their order in the archive */
    size_t n_members;
    struct manifest_disk disk;
    struct manifest_disk volumes[VOLUMES_MAX]; /* those that are files of their own */
    size_t n_volumes;
};

void manifest_clear(struct manifest *manifest);
/* As a member, or a file of its own. */
bool manifest_has_volume(const struct manifest *manifest, const char *volume);
/* The disk of a backup, or that volume, which is a file of its own; NULL: it is none. Borrowed. */
const struct manifest_disk *manifest_disk_of(const struct manifest *manifest, const char *volume);
/* All members' together; UINT64_MAX if they are more. */
uint64_t manifest_bytes(const struct manifest *manifest);

void manifest_write(const struct manifest *manifest, struct buf *out);

/* Also checks that the members are those of an export, each once. -ERR_ARCHIVE: not a manifest, or
 * of a newer format; `title` is the archive's name in messages. */
int manifest_read(
    const struct buf *text, const char *title, struct manifest *ret, struct error *err);

/* Takes out of the spec what cannot be had here: what names files of the host it came from, what
 * runs on it, volumes that the archive does not hold. Says each on stderr. */
void manifest_settle_spec(
    const struct cli *cli, const struct manifest *manifest, struct vm_spec *spec);
