/* SPDX-License-Identifier: MPL-2.0 */
/*
 * One HTTP transfer into a part file: libcurl's easy handle and its callbacks, without the loop. It
 * resumes a part with Range and If-Range (RFC 9110, 13.1.5): a server whose file has changed
 * returns the whole new file, and the part starts over.
 */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "reconcilers/fetch/part.h"
#include "specs/base/error.h"

struct download {
    CURL *easy;
    struct curl_slist *headers;
    char *authorization; /* value of that header; NULL: none */
    char *known_etag;    /* the body is not wanted if it has this one; NULL, "": in any case */
    bool is_unchanged;   /* it has */
    struct part part;
    int fd;           /* of the part file, -1 before the body begins */
    int64_t at;       /* bytes of the file received so far */
    unsigned n_begun; /* how often the download started from the first byte */
    /* With the first bytes, and about once a MiB. Set after download_init(). */
    void (*arrived)(void *context);
    void *context;
    bool must_restart;    /* the server's range does not match the part */
    struct error failure; /* set inside a callback; empty: use curl's result */
    char curl_text[CURL_ERROR_SIZE];
};

/* `part` (loaded), `authorization` and `known_etag` are copied. The second is for the URL's own
 * host: curl drops the header when it is redirected to another (CURLOPT_HTTPHEADER(3)). */
void download_init(struct download *download, const struct part *part, const char *authorization,
    const char *known_etag);
void download_clear(
    struct download *download); /* the easy handle must be removed from its multi handle */

/* Prepares the handle for another try from the first byte. */
void download_restart(struct download *download);

/* Prepares it for the bytes after those received: a server may send fewer than requested. */
void download_continue(struct download *download);

enum download_next {
    DOWNLOAD_ENDED,
    DOWNLOAD_RESTART,  /* call download_restart(), and transfer again */
    DOWNLOAD_CONTINUE, /* call download_continue(), and transfer again; it came further */
};

/* After curl has ended the transfer. DOWNLOAD_ENDED: *ret_rc is 0 and the file as long as the
 * server said, or an error: -ERR_IMAGE_NOT_FOUND, -ERR_IMAGE_DOWNLOAD, -ERR_NO_SPACE, … */
enum download_next download_result(
    struct download *download, CURLcode code, int *ret_rc, struct error *err);
