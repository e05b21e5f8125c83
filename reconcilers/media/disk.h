/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The VM's disk: a qcow2 overlay over the base image, grown by qemu-img(1). It gets its name when
 * it is complete; growing is to an absolute size. So all of it may be done twice.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/loop/op.h"

struct reconciler_host;

struct disk_request {
    const char *overlay_path;
    const char *image_path; /* absolute; the base of a new overlay */
    uint32_t disk_gib;      /* 0: as large as the image */
    /* A guest has used the overlay: it stays whatever its base is. Otherwise one on another base is
     * left from a try that was interrupted, and is moved to `aside_path`. */
    bool is_in_use;
    /* No guest may have run on it: one that is there, on whatever base, is moved there, too. */
    bool is_new;
    bool is_moved; /* with is_in_use: the overlay's base is at `image_path` now, byte for byte */
    const char *aside_path;
    uint64_t *ret_bytes; /* size of the disk; borrowed until `done` or a cancel; may be NULL */
};

/* What is recorded of a disk that a guest has used. */
struct disk_record {
    const char *vm_name; /* for messages … */
    bool has_vmfile;     /* … which name `vmctl reload` only then: it reads the VMFile */
    const char *overlay_path;
    const char *image_path; /* its base … */
    const char *moved_path; /* … or where that is now; NULL: not known */
    uint64_t disk_bytes;    /* 0: not recorded */
    uint64_t file_bytes;    /* the same */
};

/* Checks that the overlay exists, is complete, and is the recorded one; changes nothing. `record`
 * is copied. -ERR_OVERLAY says what is wrong and what can be done. */
struct op *disk_check(struct reconciler_host *host, const struct disk_record *record,
    op_done_fn *done, void *context);

/* The qcow2 file has no table of clusters: nothing was ever written to it. */
bool disk_has_no_data(const char *path);

/* Brings the overlay into being and to its size; `request` is copied. Errors: -ERR_DISK_SHRINK,
 * -ERR_OVERLAY, -ERR_NO_SPACE, and image_inspect()'s for the base. */
struct op *disk_make(struct reconciler_host *host, const struct disk_request *request,
    op_done_fn *done, void *context);
