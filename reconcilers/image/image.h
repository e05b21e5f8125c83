/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Gets base images: local files stay in place, all others go into the cache (image_work.h). Single
 * flight: operations for the same location and sha256= share one download; cancelling one leaves
 * the others, and a download without waiters stops and keeps its bytes.
 */
#pragma once

#include <stdbool.h>

#include "controller/loop/op.h"
#include "specs/base/json.h"

struct image_cache;
struct image_contents;
struct image_result;
struct proxies;
struct reconciler_host;
struct spec_image;

struct image_cache *image_cache_new(struct reconciler_host *host);
/* The host's one image cache, created by the first call; media_free() frees it. */
struct image_cache *image_cache_of(struct reconciler_host *host);
/* All operations must have ended or been cancelled; stops downloads without waiters. NULL is fine.
 */
void image_cache_free(struct image_cache *cache);

/* The digests of local images (image_content.h). Borrowed. */
struct image_contents *image_cache_contents(struct image_cache *cache);

/* Returns whether an image of this work key (image_work.h) is being downloaded. */
bool image_cache_is_filling(const struct image_cache *cache, const char *key);

/* What is known of getting the image of this work key, as its record has it (image_request.h,
 * "get/"): a fresh object, NULL when there is nothing to show. Each change of it wakes that
 * record's key. */
json_t *image_cache_describe(const struct image_cache *cache, const char *key);

struct image_order {
    const struct spec_image *image;
    const struct proxies *proxies; /* of a download; NULL: directly */
    bool is_pull;                  /* else a VM wants it */
    /* A URL without sha256= is read although the cache has what it once gave; that had this ETag,
     * or "", and is not downloaded again while it has. NULL: it is. */
    bool passes_cache;
    const char *known_etag;
    /* Of an image by name: what its publisher has now is looked up, and nothing is downloaded. */
    bool only_looks;
};

/* media_ops.fetch_image for one image. All of `order` is copied; a download that is under way
 * already is tried again with its proxies if it fails by another way. `result` is filled before
 * `done`; its record is set for URLs unless the table has it already. */
struct op *image_fetch(struct image_cache *cache, const struct image_order *order,
    struct image_result *result, op_done_fn *done, void *context);
