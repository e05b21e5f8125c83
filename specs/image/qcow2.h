/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The header of a qcow2 file, versions 2 and 3 (QEMU's docs/interop/qcow2.txt). Pure: reads bytes,
 * never a file, so that nothing of a downloaded image is interpreted before it was checked here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum {
    QCOW2_HEADER_SIZE = 104, /* bytes that are enough for qcow2_parse() */
    QCOW2_BACKING_MAX = 1023,
};

struct qcow2_header {
    uint32_t version;
    uint64_t virtual_size; /* bytes the guest sees */
    /* Name of the backing file in the image file; both 0 when there is none. */
    uint64_t backing_offset;
    uint32_t backing_size;
    bool has_data_file; /* the guest's data is in another file: the header names any path */
    bool is_encrypted;
    /* Where the rest is, unchecked. */
    uint32_t cluster_bits;
    bool has_extended_l2;
    uint32_t n_l1_entries;
    uint64_t l1_offset; /* bytes */
};

bool qcow2_has_magic(const uint8_t *bytes, size_t n);

/* The first `n` bytes of the file. -ERR_IMAGE_FORMAT: not qcow2, cut off, or not consistent. */
int qcow2_parse(const uint8_t *bytes, size_t n, struct qcow2_header *ret, struct error *err);
