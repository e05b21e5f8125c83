/* SPDX-License-Identifier: MPL-2.0 */
/* Unpacks a gzip, xz or bzip2 file by libarchive's "raw" format, see libarchive-formats(5). */
#pragma once

struct error;
struct image_sink;

/* Blocks: call it in the pool. `title` is the file's name in messages. -ERR_IMAGE_DECOMPRESS:
 * damaged or truncated; else as image_sink_write(). */
int archive_unpack(const char *path, const char *title, struct image_sink *sink, struct error *err);
