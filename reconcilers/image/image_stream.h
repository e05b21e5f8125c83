/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Hashes the bytes of an image and unpacks them, each read once: of a download while it arrives,
 * out of the page cache, behind the one who writes the part file. A run ends at what the file's end
 * is at that moment, and the next one continues there; so a run that was dropped, or never came,
 * leaves nothing but work for the last. What libarchive unpacks is hashed on the way and unpacked
 * in the end: it reads for itself.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "specs/base/digest.h"

struct error;
struct image_stream;
struct op;
struct paths;
struct pool;

/* Bytes that are to become a cached image. */
struct image_source {
    const char *path;
    const char *name;       /* its end says what compression to expect */
    const char *title;      /* for messages */
    const char *machine;    /* the processor that it has to be for; NULL: the host's */
    const char *key;        /* names the temporary file */
    const char *sha256;     /* of the bytes as they are, or of the unpacked image; NULL: not said */
    const char *digest;     /* sha256 of the bytes as they are, or, with `sha512`, what leads to
                               that (oci.h); NULL: not said */
    const char *sha512;     /* of the bytes as they are; NULL: not said */
    char link[DIGEST_SIZE]; /* what it will be looked for by */
    bool is_ours;           /* may be renamed into place instead of copied */
};

/* From the first byte of the source, of which a copy is kept; opens nothing yet. */
struct image_stream *image_stream_new(const struct paths *paths, const struct image_source *source);
/* Removes the unpacked file, unless it was handed out. NULL is fine. */
void image_stream_free(struct image_stream *stream);

/* The sha256 of the source's bytes, all of which are there: runs to their end first. */
int image_stream_source(struct image_stream *stream, const atomic_bool *is_cancelled,
    char *ret_sha256, struct error *err);

/* After that, of a source that has a sha512: what it is. `ret_hex` holds DIGEST_512_SIZE bytes. */
void image_stream_sha512(const struct image_stream *stream, char *ret_hex);

/* After that: the image in them, *ret_path (free() it), and its sha256. It is the source's own file
 * when there is nothing to unpack or copy, else a temporary one, not synced, and the caller's.
 * -ERR_IMAGE_DECOMPRESS, else as image_sink_write(). */
int image_stream_end(struct image_stream *stream, const atomic_bool *is_cancelled, char *ret_sha256,
    char **ret_path, struct error *err);

/* ---- beside the download, on the loop ---- */

/* Runs a stream in the pool whenever there is more to read. */
struct image_follower {
    struct pool *pool;           /* borrowed */
    struct image_stream *stream; /* NULL: none, or the pool has it */
    struct op *running;
    int64_t have, taken;         /* bytes there now, and when the last run began */
    unsigned n_begun;            /* what it reads was begun from its first byte so often */
    bool is_other_file;          /* … and since the last run */
    void (*idle)(void *context); /* a run is over */
    void *context;
};

/* The file has so many bytes now. May be called from anywhere on the loop. */
void image_follower_arrived(struct image_follower *follower, unsigned n_begun, int64_t have);
/* The stream, for one that reads the file as it is now; NULL: none. Nothing may be running. */
struct image_stream *image_follower_take(struct image_follower *follower);
void image_follower_clear(struct image_follower *follower);
