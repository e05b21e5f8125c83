/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Computes from its tables the minimum length of a disk image's file. A download that broke off has
 * a good header and a good beginning; QEMU reads what lies behind the end as zeros, in the guest,
 * and `qemu-img check` does not see what is missing of the last cluster or block.
 *
 * Only sizes are looked for: tables that make no sense are qemu-img's to refuse. Reads tables, for
 * a full qcow2 of 20 GB 2.5 MB, never data, and at most as much as the file is long. -ERR_IO.
 * Blocks.
 */
#pragma once

#include <stdint.h>

struct error;
struct qcow2_header;
struct user_file;

/* What a writer may leave out is not missed: bytes of the last cluster behind the disk's end. */
int qcow2_find_end(struct user_file *file, const struct qcow2_header *header, uint64_t *ret_end,
    struct error *err);

/* Its log is not read: what only stands there is a block more, never one less. */
int vhdx_find_end(struct user_file *file, uint64_t *ret_end, struct error *err);
