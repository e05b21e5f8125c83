/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What a disk image file is, by its first bytes and its stat(2); its name only serves to say when
 * the two contradict each other. QEMU is always told the format found here, never left to guess:
 * guessing lets a guest that writes a header into its raw disk read any file of the host.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/digest.h"

struct error;

enum image_format { IMAGE_QCOW2, IMAGE_RAW, IMAGE_FORMAT_COUNT_ };

enum compression {
    COMPRESSION_NONE,
    COMPRESSION_ZSTD,
    COMPRESSION_GZIP,
    COMPRESSION_XZ,
    COMPRESSION_BZIP2,
    COMPRESSION_COUNT_
};

struct image_info {
    enum image_format format;
    uint64_t virtual_size; /* bytes the guest sees */
    bool has_backing;      /* needs another file: a backing file or an external data file */
    char backing[1024];    /* name of the backing file; "" when there is none */
};

/* "qcow2", "raw": as qemu-img's -f and -F take it. */
const char *image_format_name(enum image_format format);
const char *compression_name(enum compression compression);

/* What the end of a path or of a URL's path promises (.zst .zstd .gz .xz .bz2). */
enum compression compression_of_name(const char *path);

/* What the file is; -ERR_IMAGE_DECOMPRESS when `name` promises a compression it does not have. */
int compression_of_file(
    const char *path, const char *name, enum compression *ret, struct error *err);

/*
 * -ERR_IMAGE_NOT_FOUND, -ERR_IO: cannot be read. -ERR_IMAGE_FORMAT: neither qcow2 nor raw (whole
 * sectors), encrypted, or another hypervisor's format. Reads a few hundred bytes.
 */
int image_inspect(const char *path, struct image_info *ret, struct error *err);

/*
 * Identity of a local file without reading it: digest of inode, size and modification time. Not of
 * the device number: that of btrfs, overlayfs and NFS may change with every mount.
 * False when there is no regular file.
 */
bool image_stamp(const char *path, char ret_id[DIGEST_SIZE]);
