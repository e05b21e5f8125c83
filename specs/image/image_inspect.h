/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a disk image file is, by its first bytes and its stat(2); its name only serves to say when
 * the two contradict each other. QEMU is always given the format found here, never left to guess:
 * guessing lets a guest that writes a header into its raw disk read any file of the host.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/digest.h"
#include "specs/image/image_format.h"

struct error;
struct image_foreign;

struct image_info {
    enum image_format format;
    uint64_t virtual_size; /* bytes the guest sees */
    bool has_backing;      /* needs another file: a backing file or an external data file */
    bool has_data_file;
    char backing[1024]; /* name of the backing file; "" when there is none */
};

/* Files are read as user_path.h says. -ERR_IMAGE_NOT_FOUND: the file system fell silent. */
int image_silent_error(const char *path, struct error *err);

/* What the file is; -ERR_IMAGE_DECOMPRESS when `name` promises a compression it does not have,
 * -ERR_IMAGE_FORMAT when it says that an archive is packed (image_stranger.h). */
int compression_of_file(
    const char *path, const char *name, enum compression *ret, struct error *err);

/* Of an image that is packed with gzip, xz, bzip2 or zstd: -ERR_IMAGE_FORMAT when the disk in it is
 * for another processor, as far as its beginning shows. */
int image_inspect_packed(const char *path, const char *machine, struct error *err);

/* *ret: the other hypervisor's format that the file is in, NULL: in none. -ERR_IMAGE_FORMAT when it
 * names further files, or is shorter than it says. `title` is what messages call it. */
int image_foreign_of_file(
    const char *path, const char *title, const struct image_foreign **ret, struct error *err);

/*
 * -ERR_IMAGE_NOT_FOUND, -ERR_IO: cannot be read. -ERR_IMAGE_FORMAT: neither qcow2 nor raw (whole
 * sectors), encrypted, or another hypervisor's format. Reads a few hundred bytes.
 */
int image_inspect(const char *path, struct image_info *ret, struct error *err);

/* The same, and -ERR_IMAGE_FORMAT when a qcow2 is cut off (image_end.h), or a disk is for another
 * processor than `machine` (image_machine.h). For what comes from
 * elsewhere, before it is used first: an overlay may, after a lost power, point behind its end. */
int image_inspect_base(const char *path, const char *machine, const char *title,
    struct image_info *ret, struct error *err);

/* As image_inspect_base(), of a VM's own disk: for whichever processor it is. */
int image_inspect_whole(
    const char *path, const char *title, struct image_info *ret, struct error *err);
