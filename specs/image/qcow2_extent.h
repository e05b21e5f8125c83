/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Whether all that a qcow2 image points to lies in its file (QEMU's docs/interop/qcow2.txt). A
 * download that broke off has a good header and a good beginning; QEMU reads the missing rest as
 * zeros or as I/O errors, in the guest, much later. Pure: the caller reads the tables.
 *
 * All fail with -ERR_IMAGE_FORMAT. What a writer may leave out is not missed: the bytes of the last
 * cluster behind the disk's end, and of the file's last sector.
 */
#pragma once

#include <stdint.h>

#include "specs/image/qcow2.h"

struct error;

/* Entries of the tables: 8 bytes, big-endian. */
enum { QCOW2_ENTRY_SIZE = 8 };

/* The tables that the header names, and that the L1 table is large enough for the disk. The first
 * to call: it bounds n_l1_entries (32 MiB) and refcount_clusters (8 MiB), as QEMU does. */
int qcow2_check_tables(const struct qcow2_header *header, uint64_t file_size, struct error *err);

/* *ret_offset: of the L2 table that an L1 entry points to; 0: to none. The table is one cluster. */
int qcow2_check_l1_entry(const struct qcow2_header *header, const uint8_t *entry,
    uint64_t file_size, uint64_t *ret_offset, struct error *err);

/* All entries of the L2 table of L1 entry `l1_index`. */
int qcow2_check_l2_table(const struct qcow2_header *header, const uint8_t *table, uint64_t l1_index,
    uint64_t file_size, struct error *err);

/* An entry of the refcount table. */
int qcow2_check_refcount_entry(
    const struct qcow2_header *header, const uint8_t *entry, uint64_t file_size, struct error *err);
