/* SPDX-License-Identifier: MPL-2.0 */
/* Runs qemu-img(1); copies a disk with its backing files into one qcow2 file. */
#pragma once

#include <stdint.h>

struct error;
struct progress;

/* Where it writes, and the words for that. */
struct qemu_img_target {
    int fd;                    /* the file at QEMU_IMG_TARGET */
    const char *directory;     /* where that is made, in messages */
    const char *what;          /* what becomes of it, in messages: "the disk of vm 'web'" */
    struct progress *progress; /* NULL: none, and no -p */
};
#define QEMU_IMG_TARGET "/dev/fd/3"

/* Runs a command line that ends with NULL: blocks until it is done, and is done with us if we are
 * killed. -ERR_OVERLAY, -ERR_NO_SPACE. */
int qemu_img_run(const char *const *argv, const struct qemu_img_target *target, struct error *err);

/* Writes the qcow2 file at `path`, including its backing files, to the empty target. Does not start
 * if the target has no space for it. Else as qemu_img_run(). */
int flatten(const char *path, const struct qemu_img_target *target, struct error *err);

/* That there is no room for it in the target's directory; `bytes` 0: who knows how many. */
int qemu_img_has_no_room(const struct qemu_img_target *target, uint64_t bytes, struct error *err);
