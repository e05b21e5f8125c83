/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Disk images of other hypervisors, which qemu-img converts: their format, and whether an image is
 * complete in itself. Some formats name further files that are part of the disk; the author of an
 * image must not choose which files of this host are read, so such images are refused before any
 * program opens them.
 * Pure: reads bytes. Sources: VMware's "Virtual Disk Format 5.0", Microsoft's VHD specification and
 * [MS-VHDX], QEMU's docs/interop/qed_spec.txt and what its block/vmdk.c opens.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IMAGE_FOREIGN_HEAD_SIZE = 512 + 20 * 512, /* bytes that are enough for all below */
    IMAGE_FOREIGN_FOOTER_SIZE = 512,
};

struct image_foreign {
    const char *name;   /* "VMDK", "VHDX" …: for people */
    const char *driver; /* what qemu-img calls it */
    bool has_check;     /* `qemu-img check` finds references behind the end of the file */
};

/* The format of a file that begins with these bytes; NULL: none of these. Static. IMAGE_HEAD_SIZE
 * bytes are enough here. As a raw disk such a file would merely fail to boot. */
const struct image_foreign *image_foreign_format(const uint8_t *head, size_t n);

/* The format of a file that ends with these bytes, if its head has none: a fixed VHD is a raw disk
 * and this footer. NULL: it is not one. A disk that merely holds such a sector is not taken for
 * one: the footer must have a valid checksum and the size of the file. */
const struct image_foreign *image_foreign_of_footer(
    const uint8_t footer[IMAGE_FOREIGN_FOOTER_SIZE], uint64_t file_size);

/* VHDX: the end of the file follows from its tables, not from its head. */
bool image_foreign_is_vhdx(const struct image_foreign *format);

/* Why the image cannot be taken alone ("it is a description of other files"); NULL: it can. A
 * VHDX with a parent is not detected: qemu-img refuses it without opening the parent. */
const char *image_foreign_dependency(const uint8_t *head, size_t n);

/* The least size of the file by its header, in bytes: qemu-img would fill missing bytes with zeros.
 * 0: the header does not have it. */
uint64_t image_foreign_size(const uint8_t *head, size_t n);
