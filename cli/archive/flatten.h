/* SPDX-License-Identifier: MPL-2.0 */
/* qemu-img(1), and by it a disk and what lies under it as one qcow2 file. */
#pragma once

struct error;
struct progress;

/* Runs a command line that ends with NULL: blocks until it is done, and is done with us if we are
 * killed. `fd` is the file at QEMU_IMG_TARGET; `path` names what it reads in messages; `progress`
 * NULL: none, and no -p. -ERR_OVERLAY, -ERR_NO_SPACE. */
#define QEMU_IMG_TARGET "/dev/fd/3"
int qemu_img_run(const char *const *argv, int fd, const char *path, struct progress *progress,
    struct error *err);

/* Writes the qcow2 file at `path`, its bases included, to the empty file `fd`. */
int flatten(const char *path, int fd, struct progress *progress, struct error *err);
