/* SPDX-License-Identifier: MPL-2.0 */
/* Downloads on the loop, a few at a time; the others wait in order of arrival. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/loop/op.h"

struct error;
struct fetcher;
struct loop;
struct multi;
struct part;
struct proxies;

/* `total` is -1 while unknown. Called from the loop twice a second, once the download has begun. */
typedef void fetch_progress_fn(void *context, int64_t have, int64_t total);

/* With the first bytes and about once a MiB: the part's file has so many now. If `n_begun` is not
 * what it was (0 at first), it was begun from its first byte. From within curl: may not cancel. */
typedef void fetch_arrival_fn(void *context, unsigned n_begun, int64_t have);

struct fetch_order {
    const struct part *part;       /* loaded; copied */
    const char *authorization;     /* that header's value, for the URL's own host; NULL: none */
    const struct proxies *proxies; /* NULL: none; copied */
    const char *known_etag; /* nothing comes if the URL has this one; NULL, "": none; copied */
    bool *is_unchanged;     /* borrowed until `done`: set if so. NULL without an ETag */
    fetch_progress_fn *progress;
    fetch_arrival_fn *arrived;
};

int fetcher_new(struct loop *loop, struct fetcher **ret, struct error *err);
void fetcher_free(struct fetcher *fetcher); /* all downloads must have ended; NULL is fine */

/* For small requests (request.h). Borrowed. */
struct multi *fetcher_multi(struct fetcher *fetcher);

/*
 * Completes the part from its URL, http or https. On success the part's file is complete. After a
 * failure or a cancel the bytes so far are kept for part_load().
 * Errors: -ERR_IMAGE_NOT_FOUND (404, 410), -ERR_IMAGE_DOWNLOAD, -ERR_NO_SPACE, -ERR_IO.
 */
struct op *fetcher_get(
    struct fetcher *fetcher, const struct fetch_order *order, op_done_fn *done, void *context);
