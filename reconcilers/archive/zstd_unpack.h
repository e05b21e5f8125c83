/* SPDX-License-Identifier: MPL-2.0 */
/* Unpacks a zstd file (RFC 8878): one frame or several. The only place with <zstd.h>. */
#pragma once

struct error;
struct image_sink;

/* Blocks: call it in the pool. `title` is the file's name in messages. -ERR_IMAGE_DECOMPRESS:
 * damaged or truncated; else as image_sink_write(). */
int zstd_unpack(const char *path, const char *title, struct image_sink *sink, struct error *err);
