/* SPDX-License-Identifier: MPL-2.0 */
#pragma once

#include <stdint.h>

struct error;
struct qcow2_header;

/*
 * Whether a qcow2 file holds all that it points to (specs/image/qcow2_extent.h). Reads its tables, for a
 * full 20 GB image 2.5 MB, never its data; at most as much as the file is long. For images that come
 * from elsewhere and are only read: an overlay may, after a lost power, point behind its end.
 * -ERR_IMAGE_FORMAT, -ERR_IO. Blocks.
 */
int qcow2_tables_check(
    int fd, const struct qcow2_header *header, uint64_t file_size, struct error *err);
