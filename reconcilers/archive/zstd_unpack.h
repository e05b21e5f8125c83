/* SPDX-License-Identifier: MPL-2.0 */
/* Unpacks a zstd file (RFC 8878): one frame or several. The only place with <zstd.h>. */
#pragma once

struct error;
struct image_sink;

/* Blocks: for the pool. `title` is what messages call it. -ERR_IMAGE_DECOMPRESS: damaged or cut
 * off; else as image_sink_write(). */
int zstd_unpack(const char *path, const char *title, struct image_sink *sink, struct error *err);
