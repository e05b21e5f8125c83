/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The blocking half of getting an image: looks whether it is in reach, hashes, unpacks, checks and
 * files it. Runs on the pool and touches nothing but its own struct and these files:
 *
 *   images/<sha256>.qcow2       the image, 0444, named by its own bytes (unpacked, converted), raw
 * ones too images/.by-source/<digest>  symbolic link to it. The digest is that of what it came
 * from: the downloaded file's bytes, "url:URL", or a local file's stamp. So whether an image is
 * cached is one stat(2), and a kill between filing an image and recording it costs nothing.
 *   images/.part/               downloads (fetch/part.h), files being unpacked or converted
 * (*.tmp-*)
 *
 * The links are made before the image gets its name: killed in between, they lead nowhere.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "reconcilers/fetch/docker_config.h"
#include "reconcilers/fetch/oci.h"
#include "reconcilers/fetch/part.h"
#include "reconcilers/image/image_convert.h"
#include "specs/image/image_inspect.h"
#include "specs/base/digest.h"
#include "specs/base/paths.h"
#include "specs/vm/vm_spec.h"

struct error;
struct image_stream;

/* What has to be done before the image is there; each but the last is followed by more work. */
enum image_next {
    IMAGE_NEXT_DONE,     /* nothing: `path` and all below it are set */
    IMAGE_NEXT_LONG,     /* the same without `is_brief`: what is left takes long */
    IMAGE_NEXT_LAYER,    /* look `layer` up, with `login`, or `from` in the list at `sums` */
    IMAGE_NEXT_DOWNLOAD, /* download `part`, which is loaded */
    IMAGE_NEXT_CONVERT,  /* carry out `conversion` */
};

struct image_work {
    /* in */
    struct paths paths; /* a copy */
    struct spec_image image;
    char key[DIGEST_SIZE]; /* names the request: image_work_key() */
    char *boot_id;
    bool is_brief;          /* stop before whatever takes as long as the image is large */
    bool is_downloaded;     /* the part is whole: do not look again */
    bool passes_cache;      /* of a URL: read it, although it is cached … */
    char *known_etag;       /* … but not a file that is still so, or gone; NULL: that, too */
    struct oci_layer layer; /* of an oci: URL or a name; zero: not looked up yet */
    char verified_id[DIGEST_SIZE]; /* a local file's stamp whose bytes are known to match sha256= */
    bool is_checked;               /* a local file as it is: qemu-img found no damage */

    struct image_conversion conversion; /* one that was done, or zero. Out: to be done */

    /* out */
    enum image_next next;
    struct oci_login login;
    char *from, *sums; /* of an image by name: URLs of it and of its publisher's check sums */
    struct part part;
    struct image_stream *stream; /* of what is downloaded: may run while it arrives. In: ran so */
    char *path;
    char id[DIGEST_SIZE];    /* sha256 in the cache, stamp of a local file */
    bool is_cached;          /* lies in images/ */
    char stamp[DIGEST_SIZE]; /* of a local file, taken before it was read; "" for URLs */
    struct image_info info;
    char *etag; /* of what was downloaded, of a file: URL its stamp; NULL: none, or nothing was */
};

/* Same location, same sha256= and, of a registry's, same processor: same key. */
void image_work_key(const struct spec_image *image, char ret_key[DIGEST_SIZE]);

struct image_work *image_work_new(
    const struct paths *paths, const struct spec_image *image, const char *boot_id);
void image_work_free(struct image_work *work); /* NULL is fine */

/* pool_work_fn and pool_free_fn over a struct image_work. */
int image_work_run(void *work, const atomic_bool *is_cancelled, struct error *err);
void image_work_release(void *work);

/* Discards what was downloaded for the request; the next try asks the server again. */
void image_work_discard(const struct paths *paths, const char *key);

/* What a URL without sha256= is looked for by in images/.by-source. */
void image_link_digest(const struct spec_image *image, char ret_digest[DIGEST_SIZE]);

/* The cached image that a request may use, NULL: none; by stat(2) only. free() it. */
char *image_find_cached(const struct paths *paths, const struct spec_image *image);

/* Whether an image is there without fetching; by stat(2) only. A local file: readable. */
bool image_is_in_reach(const struct paths *paths, const struct spec_image *image);
