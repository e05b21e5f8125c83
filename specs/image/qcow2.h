/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The header of a qcow2 file, versions 2 and 3 (QEMU's docs/interop/qcow2.txt), and a new overlay.
 * Pure: bytes, never a file, so that nothing of a downloaded image is interpreted before it was
 * checked here.
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
    bool uses_zstd; /* its compressed clusters; false: deflate */
    uint32_t n_l1_entries;
    uint64_t l1_offset; /* bytes */
};

bool qcow2_has_magic(const uint8_t *bytes, size_t n);

/* The first `n` bytes of the file. -ERR_IMAGE_FORMAT: not qcow2, cut off, not consistent, or with
 * incompatible features that the specification does not have. */
int qcow2_parse(const uint8_t *bytes, size_t n, struct qcow2_header *ret, struct error *err);

/*
 * A disk that shows its backing file until it is written to: version 3, without options, clusters
 * of QCOW2_CLUSTER, as `qemu-img create` makes it by default. Written at their places in a file of
 * `file_size` bytes, with zeros between them, the three parts are the whole of it: the L1 table,
 * which is the rest of the file, has no entry yet.
 */
enum { QCOW2_CLUSTER = 1 << 16, QCOW2_HEAD_SIZE = 1280 };

struct qcow2_overlay {
    uint8_t head[QCOW2_HEAD_SIZE]; /* at 0 */
    uint8_t refcount_table[8];     /* at QCOW2_CLUSTER */
    uint8_t refcounts[64];         /* at 2 * QCOW2_CLUSTER */
    uint64_t file_size;
};

/* `backing` is as QEMU is to open it, `format` its "qcow2" or "raw"; both NULL: an empty disk, on
 * nothing. `virtual_size` is rounded up to whole sectors. -ERR_OVERLAY: the name is too long, or
 * the disk larger than IMAGE_BYTES_MAX. */
int qcow2_make_overlay(const char *backing, const char *format, uint64_t virtual_size,
    struct qcow2_overlay *ret, struct error *err);
