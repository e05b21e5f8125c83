/* SPDX-License-Identifier: MPL-2.0 */
#pragma once

#include <stdint.h>

struct error;

/*
 * Where a VHDX file must end at the earliest, by its tables: what lies behind the end of the file,
 * qemu-img reads as zeros. Reads its region, metadata and block tables ([MS-VHDX] 2.2.3, 2.5, 2.6),
 * never more than the file has, not its log: what only stands there is a block more, never one less.
 * 0: they cannot be made sense of, which qemu-img will say. -ERR_IO. Blocks.
 */
int vhdx_find_end(int fd, uint64_t file_size, uint64_t *ret_end, struct error *err);
