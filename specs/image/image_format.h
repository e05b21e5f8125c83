/* SPDX-License-Identifier: MPL-2.0 */
/* The format of a disk image, by its first bytes and by the end of its name. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum image_format { IMAGE_QCOW2, IMAGE_RAW, IMAGE_FORMAT_COUNT_ };

enum compression {
    COMPRESSION_NONE,
    COMPRESSION_ZSTD,
    COMPRESSION_GZIP,
    COMPRESSION_XZ,
    COMPRESSION_BZIP2,
    COMPRESSION_COUNT_
};

#define IMAGE_BYTES_MAX (UINT64_C(64) << 40) /* as the largest `disk` of a VMFile */

enum {
    IMAGE_HEAD_SIZE = 512, /* bytes at the start of a file that identify its format */
    IMAGE_SECTOR_SIZE = 512,
};

/* "qcow2", "raw": as qemu-img's -f and -F take it. */
const char *image_format_name(enum image_format format);
const char *compression_name(enum compression compression);

/* The compression that the end of a path or of a URL's path implies (.zst .zstd .gz .xz .bz2). */
enum compression compression_of_name(const char *path);

/* The compression of a file that begins with these bytes. */
enum compression compression_of_head(const uint8_t *head, size_t n);
