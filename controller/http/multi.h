/* SPDX-License-Identifier: MPL-2.0 */
/*
 * libcurl's multi interface on the loop, driven by its socket and timer functions, see
 * curl_multi_socket_action(3); and the options that all transfers share.
 */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>

struct error;
struct loop;
struct multi;
struct proxies;

/* Called from the loop, never from inside curl: the transfer may be stopped and freed in it. */
typedef void multi_end_fn(void *context, CURLcode code);

/* One transfer, a member of its owner. */
struct multi_transfer {
    CURL *easy;
    multi_end_fn *ended;
    void *context;
    struct proxies *proxies; /* the owner's; NULL: none, and none of the environment either */
    bool is_active;          /* set by multi.c */
};

int multi_new(struct loop *loop, struct multi **ret, struct error *err);
void multi_free(struct multi *multi); /* all transfers must be stopped; NULL is fine */
struct loop *multi_loop(const struct multi *multi); /* borrowed */

/* Uses CURLOPT_PRIVATE, CURLOPT_HEADERFUNCTION and the options of proxies. The transfer starts in
 * the loop's next turn. */
void multi_start(struct multi *multi, struct multi_transfer *transfer);
/* Where it is, or was: behind the redirects. Borrowed from the handle. */
const char *multi_url(const struct multi_transfer *transfer);
void multi_stop(struct multi *multi, struct multi_transfer *transfer); /* inactive ones too */

/* A handle for `url`: http and https only, also after a redirect; follows a few redirects; limits
 * the time to connect and the lowest speed. `curl_text` holds CURL_ERROR_SIZE bytes and lives as
 * long as the handle. */
CURL *multi_easy_new(const char *url, char *curl_text);

/* Sets -ERR_IMAGE_DOWNLOAD: "cannot download `url`: …" with curl's message. */
int multi_error(const char *url, const char *curl_text, CURLcode code, struct error *err);
