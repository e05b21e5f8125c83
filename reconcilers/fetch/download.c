/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/download.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/http/multi.h"
#include "specs/base/url.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum { ETAG_MAX = 256, STEP_BYTES = 1 << 20, BUFFER_BYTES = 1 << 18 };

/* A header of the current response; NULL when absent. Borrowed until the next call. */
static const char *response_header(const struct download *d, const char *name)
{
    struct curl_header *header = NULL;
    CURLHcode rc = curl_easy_header(d->easy, name, 0, CURLH_HEADER, -1, &header);
    return rc == CURLHE_OK ? header->value : NULL;
}

/* Whether the bytes of a 206 follow those there are, and are of the same file: a server that knows
 * ETags repeats it (RFC 9110, 15.3.7), and one that sends several ranges at once has no
 * Content-Range. They may be fewer than were asked for. */
static bool rest_fits(struct download *d)
{
    cleanup_free char *range = mem_strdup(response_header(d, "Content-Range"));
    cleanup_free char *etag = mem_strdup(response_header(d, "ETag"));
    long long first = -1, last = -1, total = -1;
    if (!range || sscanf(range, "bytes %lld-%lld/%lld", &first, &last, &total) < 2 ||
        !text_eq(etag, d->part.etag) || first != d->part.have || last < first) {
        return false;
    }
    bool is_as_long =
        total < 0 ? d->part.length >= 0 : d->part.length < 0 || total == d->part.length;
    d->part.length = d->part.length < 0 ? total : d->part.length;
    return is_as_long && last < d->part.length;
}

static int begin_body(struct download *d, long status)
{
    if (status == 206 && d->part.have > 0) {
        d->must_restart = !rest_fits(d);
        d->at = d->part.have;
        return d->must_restart ? -ERR_IMAGE_DOWNLOAD : part_continue(&d->part, &d->fd, &d->failure);
    }
    if (status != 200) {
        return error_set(
            &d->failure, ERR_IMAGE_DOWNLOAD, "the server returned HTTP status %ld", status);
    }
    curl_off_t length = -1;
    (void)curl_easy_getinfo(d->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    d->at = 0;
    d->n_begun++;
    /* If-Range accepts a strong ETag only. */
    const char *etag = response_header(d, "ETag");
    bool is_strong = etag && etag[0] == '"' && strlen(etag) < ETAG_MAX;
    return part_begin(&d->part, is_strong ? etag : NULL, length, &d->fd, &d->failure);
}

/* Appends to the page cache only: it runs inside curl, on the loop. */
static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct download *d = context;
    size_t n = size * count;
    long status = 0;
    (void)curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    if (d->fd < 0 && begin_body(d, status) < 0) {
        return CURL_WRITEFUNC_ERROR;
    }
    if (d->part.length >= 0 && d->at + (int64_t)n > d->part.length) {
        error_set(&d->failure, ERR_IMAGE_DOWNLOAD,
            "the server sent more than the %lld bytes it announced", (long long)d->part.length);
        return CURL_WRITEFUNC_ERROR;
    }
    bool is_next_step = d->at / STEP_BYTES != (d->at + (int64_t)n) / STEP_BYTES;
    if (is_next_step && !fs_has_room(d->fd, n)) {
        error_set(&d->failure, ERR_NO_SPACE,
            "no space for '%s': the rest of its disk is reserved for running VMs", d->part.path);
        return CURL_WRITEFUNC_ERROR;
    }
    if (fs_write_all(d->fd, bytes, n, &d->failure) < 0) {
        error_wrap(&d->failure, "'%s'", d->part.path);
        return CURL_WRITEFUNC_ERROR;
    }
    bool is_first = d->at == 0;
    d->at += (int64_t)n;
    if (is_first || is_next_step) {
        d->arrived(d->context);
    }
    return n;
}

static void add_header(struct download *d, const char *name, const char *value)
{
    cleanup_free char *line = mem_printf("%s: %s", name, value);
    d->headers = curl_slist_append(d->headers, line);
}

static void set_headers(struct download *d)
{
    curl_slist_free_all(TAKE_PTR(d->headers));
    cleanup_free char *range = NULL;
    if (d->part.have > 0 && d->part.etag) {
        range = mem_printf("%lld-", (long long)d->part.have);
        add_header(d, "If-Range", d->part.etag);
    }
    if (d->authorization) {
        add_header(d, "Authorization", d->authorization);
    }
    if (d->known_etag && d->known_etag[0]) {
        add_header(d, "If-None-Match", d->known_etag);
    }
    curl_easy_setopt(d->easy, CURLOPT_URL, d->part.url); /* not where redirects led */
    curl_easy_setopt(d->easy, CURLOPT_RANGE, range);
    curl_easy_setopt(d->easy, CURLOPT_HTTPHEADER, d->headers);
}

void download_init(
    struct download *d, const struct part *part, const char *authorization, const char *known_etag)
{
    *d = (struct download){.fd = -1,
        .at = part->have,
        .authorization = mem_strdup(authorization),
        .known_etag = mem_strdup(known_etag)};
    d->easy = multi_easy_new(part->url, d->curl_text);
    part_copy(&d->part, part);
    curl_easy_setopt(d->easy, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
    curl_easy_setopt(d->easy, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(d->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(d->easy, CURLOPT_WRITEDATA, d);
    set_headers(d);
}

static void close_part(struct download *d)
{
    if (d->fd >= 0) {
        close(TAKE_FD(d->fd));
    }
}

void download_clear(struct download *d)
{
    close_part(d);
    curl_easy_cleanup(TAKE_PTR(d->easy));
    curl_slist_free_all(TAKE_PTR(d->headers));
    free(TAKE_PTR(d->authorization));
    free(TAKE_PTR(d->known_etag));
    part_clear(&d->part);
}

void download_restart(struct download *d)
{
    close_part(d);
    part_discard(&d->part);
    d->at = 0;
    d->must_restart = false;
    error_clear(&d->failure);
    set_headers(d);
}

static int set_error(struct download *d, CURLcode code, long status, struct error *err)
{
    cleanup_free char *url = url_for_people(d->part.url);
    if (d->failure.code != ERR_NONE) {
        *err = d->failure;
        return error_wrap(err, "cannot download %s", url);
    }
    if (code != CURLE_HTTP_RETURNED_ERROR) {
        return multi_error(url, d->curl_text, code, err);
    }
    if (status == 404 || status == 410) {
        return error_set(err, ERR_IMAGE_NOT_FOUND, "no image at %s (HTTP status %ld)", url, status);
    }
    return error_set(err, ERR_IMAGE_DOWNLOAD, "cannot download %s: HTTP status %ld", url, status);
}

void download_continue(struct download *d)
{
    d->part.have = d->at;
    set_headers(d);
}

enum download_next download_result(
    struct download *d, CURLcode code, int *ret_rc, struct error *err)
{
    long status = 0;
    (void)curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    close_part(d);
    if (code == CURLE_OK && status == 304 && d->known_etag) {
        d->is_unchanged = true;
        *ret_rc = 0;
        return DOWNLOAD_ENDED;
    }
    bool is_refused_range = code == CURLE_HTTP_RETURNED_ERROR && status == 416;
    if (d->part.have > 0 && (d->must_restart || is_refused_range)) {
        return DOWNLOAD_RESTART;
    }
    bool is_short = code == CURLE_OK && d->part.length >= 0 && d->at < d->part.length;
    if (is_short && status == 206 && d->at > d->part.have) {
        return DOWNLOAD_CONTINUE;
    }
    if (is_short && d->failure.code == ERR_NONE) {
        error_set(&d->failure, ERR_IMAGE_DOWNLOAD, "the server sent %lld of %lld bytes",
            (long long)d->at, (long long)d->part.length);
    } else if (code == CURLE_OK && d->at == 0) {
        error_set(&d->failure, ERR_IMAGE_DOWNLOAD, "the server sent no bytes");
    }
    if (d->failure.code == ERR_NO_SPACE && !d->part.etag) {
        part_discard(&d->part); /* of no use: it cannot be resumed */
    }
    bool is_good = code == CURLE_OK && d->failure.code == ERR_NONE;
    *ret_rc = is_good ? 0 : set_error(d, code, status, err);
    return DOWNLOAD_ENDED;
}
