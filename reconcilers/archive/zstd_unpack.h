/* SPDX-License-Identifier: MPL-2.0 */
/* Unpacks a zstd file (RFC 8878) of one or more frames, as its bytes arrive. Only this file and
 * cli/archive include <zstd.h>. */
#pragma once

#include <stddef.h>

struct error;
struct image_sink;
struct zstd_unpacker;

/* `title` is the file's name in messages: borrowed. */
struct zstd_unpacker *zstd_unpacker_new(const char *title);
void zstd_unpacker_free(struct zstd_unpacker *unpacker); /* NULL is fine */

/* Unpacks the next bytes of the file. -ERR_IMAGE_DECOMPRESS: damaged; else as image_sink_write().
 */
int zstd_unpack(struct zstd_unpacker *unpacker, const void *bytes, size_t n,
    struct image_sink *sink, struct error *err);
/* Ends the input. -ERR_IMAGE_DECOMPRESS: truncated. */
int zstd_unpack_end(const struct zstd_unpacker *unpacker, struct error *err);
