/* SPDX-License-Identifier: MPL-2.0 */
/* The image cache on disk: images/<sha256>.qcow2 and the links that lead to it (image_work.h). */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "specs/base/digest.h"

struct error;
struct image_conversion;
struct image_source;
struct image_stream;
struct paths;

/* The image that a source's digest leads to; NULL when there is none. free() it. */
char *image_file_by_source(const struct paths *paths, const char *digest);

/* Makes `digest` lead to a cached image, too. */
int image_file_link(
    const struct paths *paths, const char *digest, const char *path, struct error *err);

/* The sha256 in a cached image's name. */
void image_file_id(const char *path, char ret_id[DIGEST_SIZE]);

/* Gives a cached image a name, images/NAME, in place of what had that name: a symbolic link. Not
 * synced: after a power loss the image may be there without it. */
int image_file_set_name(
    const struct paths *paths, const char *name, const char *id, struct error *err);

/* One source on its way into the cache. */
struct image_filing {
    const struct paths *paths;
    const struct image_source *source;
    /* Zero, or one that is done: then it is cleared. Of a qcow2 and of another hypervisor's image
     * it says afterwards what to check or convert, before image_file_fill() is called again with
     * it. */
    struct image_conversion *conversion;
    struct image_stream *stream; /* of the source, as far as it has come */
    const atomic_bool *is_cancelled;

    char *path; /* out: where the image is, free() it; NULL: `conversion` comes first */
    char source_sha[DIGEST_SIZE];   /* found: of the source's bytes as they are */
    char unpacked_sha[DIGEST_SIZE]; /* found: of the image in them */
};

/*
 * Hashes, unpacks, checks, syncs and files a source. Blocks. Doing it again is a no-op.
 * -ERR_IMAGE_CHECKSUM; -ERR_IMAGE_FORMAT (also an image that refers to another file: what comes
 * from elsewhere must not name files of this host); -ERR_IMAGE_DECOMPRESS, -ERR_NO_SPACE …
 */
int image_file_fill(struct image_filing *filing, struct error *err);

/* Sets -ERR_IMAGE_CHECKSUM, of a sha256 or a sha512. */
int image_file_checksum_error(
    const char *title, const char *found, const char *expected, struct error *err);
