/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Snapshots of a VM's disk: what was recorded of the disk when each was made, and the request that
 * makes, restores or removes one. A snapshot is a file of its own, over the same base image as the
 * disk was: none depends on another. The files: reconcilers/media/snapshot.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/enum_names.h"
#include "specs/base/text.h"
#include "specs/base/vm_name.h"

enum { SNAPSHOT_NAME_SIZE = 64, SNAPSHOTS_MAX = 100 };

/* The disk that the last `restore` replaced. */
#define SNAPSHOT_BEFORE_RESTORE "before-restore"
/* A disk that a recreation replaced: behind it the time, in UTC. It is kept for KEPT_MS, as one of
 * the last KEPT_MAX of its VM, and while KEPT_ROOM_MIB of the file system are free. */
#define SNAPSHOT_RECREATED "recreated-"
enum { KEPT_MS = 24 * 3600 * 1000, KEPT_MAX = 3, KEPT_ROOM_MIB = 1024 };

enum snapshot_verb { SNAPSHOT_CREATE, SNAPSHOT_RESTORE, SNAPSHOT_REMOVE, SNAPSHOT_VERB_COUNT_ };

/* A new token requests it; it is done, or has failed for good, once the status has the same token.
 */
struct snapshot_order {
    char token[TEXT_ID_SIZE]; /* names the files that it makes, too; "": none was ever given */
    enum snapshot_verb verb;
    char name[SNAPSHOT_NAME_SIZE];
    int64_t keep_ms; /* of `create`: it is removed after this long; 0: the user removes it */
    /* Of `create`, for a backup: from that moment on a dirty bitmap of the disk, which has this
     * snapshot's name, records what guests write; false: none is begun. */
    bool begins_bitmap;
    /* … Of a disk in use only what was written since that bitmap began, as far as it is whole; "":
     * all of it. */
    char since[SNAPSHOT_NAME_SIZE];
    /* … Of this volume of the running machine, in place of the VM's disk; "": of that. */
    char volume[VM_FULL_NAME_MAX + 1];
};

/* Before the name of a snapshot that is nobody's but a clone's that is about to be made. */
#define SNAPSHOT_PASSING "~"

extern const struct enum_names snapshot_verb_words;
const char *snapshot_verb_name(enum snapshot_verb verb);

/* As that of a VM. */
bool snapshot_name_is_valid(const char *name);
