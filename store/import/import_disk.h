/* SPDX-License-Identifier: MPL-2.0 */
/*
 * What is to be known of the disk of a VM of the original vmctl. Private to store/.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct error;

struct import_disk {
    char *backing;         /* absolute path of the image below it */
    uint64_t virtual_size; /* bytes the guest sees */
};

/* Reads the overlay's qcow2 header; both files must be there. import_disk_clear() *ret. */
int import_disk_read(const char *overlay_path, struct import_disk *ret, struct error *err);
void import_disk_clear(struct import_disk *disk);

/* Whether a QEMU holds the locks it takes on an image it opens (its block/file-posix.c). */
bool import_disk_is_open(const char *overlay_path);
