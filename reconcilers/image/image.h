/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Getting base images: local files where they are, everything else into the cache (image_work.h).
 * Single flight: operations for the same location and sha256= share one download; cancelling one
 * leaves the others, and a download that nobody waits for stops and keeps its bytes.
 */
#pragma once

#include <stdbool.h>

#include "controller/loop/op.h"

struct image_cache;
struct image_result;
struct proxies;
struct reconciler_host;
struct spec_image;

struct image_cache *image_cache_new(struct reconciler_host *host);
/* The host's one image cache, created by the first call; media_free() frees it. */
struct image_cache *image_cache_of(struct reconciler_host *host);
/* Operations must be over or cancelled; stops what still runs for nobody. NULL is fine. */
void image_cache_free(struct image_cache *cache);

/* Whether an image of this work key (image_work.h) is being got. */
bool image_cache_is_filling(const struct image_cache *cache, const char *key);

/* Key of a URL's record in the image table. free() it. */
char *image_record_key(const char *url);

/*
 * media_ops.fetch_image for one image. A download goes through `proxies` (NULL: directly; copied);
 * one that is under way already is tried again with them if it fails by another way. `result` is
 * filled before `done`; its record is set for URLs unless the table has it already. `progress` must
 * not start or cancel operations.
 */
struct op *image_fetch(struct image_cache *cache, const struct spec_image *image,
    const struct proxies *proxies, struct image_result *result,
    void (*progress)(void *context, const char *text), op_done_fn *done, void *context);
