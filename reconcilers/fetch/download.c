/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/fetch/download.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reconcilers/fetch/url.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/fs.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum {
    CONNECT_TIMEOUT_S = 10,
    LOW_SPEED_BYTES = 1024,
    LOW_SPEED_TIME_S = 60,
    REDIRECTS_MAX = 10,
    ETAG_MAX = 256,
};

/* Header of the answer that is being read; NULL when absent. Borrowed until the next call. */
static const char *answer_header(const struct download *d, const char *name)
{
    struct curl_header *header = NULL;
    CURLHcode rc = curl_easy_header(d->easy, name, 0, CURLH_HEADER, -1, &header);
    return rc == CURLHE_OK ? header->value : NULL;
}

/* Only a strong one may stand in If-Range. */
static const char *strong_etag(const struct download *d)
{
    const char *etag = answer_header(d, "ETag");
    return etag && etag[0] == '"' && strlen(etag) < ETAG_MAX ? etag : NULL;
}

static bool rest_fits(const struct download *d)
{
    const char *range = answer_header(d, "Content-Range");
    const char *etag = answer_header(d, "ETag");
    long long first = -1, last = -1, total = -1;
    if (!range || sscanf(range, "bytes %lld-%lld/%lld", &first, &last, &total) < 2) {
        return false;
    }
    bool is_same = !etag || text_eq(etag, d->part.etag);
    bool is_as_long = total < 0 || d->part.length < 0 || total == d->part.length;
    return is_same && is_as_long && first == d->part.have;
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
            &d->failure, ERR_IMAGE_DOWNLOAD, "the server answered with HTTP status %ld", status);
    }
    curl_off_t length = -1;
    (void)curl_easy_getinfo(d->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    d->at = 0;
    return part_begin(&d->part, strong_etag(d), length, &d->fd, &d->failure);
}

/* Appends to the page cache and does nothing else: runs inside curl, on the loop. */
static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct download *d = context;
    size_t n = size * count;
    long status = 0;
    (void)curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    if (d->fd < 0 && begin_body(d, status) < 0) {
        return CURL_WRITEFUNC_ERROR;
    }
    if (fs_write_all(d->fd, bytes, n, &d->failure) < 0) {
        error_wrap(&d->failure, "'%s'", d->part.path);
        return CURL_WRITEFUNC_ERROR;
    }
    d->at += (int64_t)n;
    return n;
}

static void set_range(struct download *d)
{
    curl_slist_free_all(TAKE_PTR(d->headers));
    if (d->part.have > 0 && d->part.etag) {
        cleanup_free char *range = mem_printf("%lld-", (long long)d->part.have);
        cleanup_free char *if_range = mem_printf("If-Range: %s", d->part.etag);
        d->headers = curl_slist_append(NULL, if_range);
        curl_easy_setopt(d->easy, CURLOPT_RANGE, range);
    } else {
        curl_easy_setopt(d->easy, CURLOPT_RANGE, NULL);
    }
    curl_easy_setopt(d->easy, CURLOPT_HTTPHEADER, d->headers);
}

void download_init(struct download *d, const struct part *part)
{
    *d = (struct download){.easy = curl_easy_init(), .fd = -1, .at = part->have};
    if (!d->easy) {
        abort(); /* out of memory: as mem.h does */
    }
    part_copy(&d->part, part);
    curl_easy_setopt(d->easy, CURLOPT_URL, part->url);
    /* A server must not redirect us to a file of the host. */
    curl_easy_setopt(d->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(d->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(d->easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(d->easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
    curl_easy_setopt(d->easy, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(d->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(d->easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(d->easy, CURLOPT_LOW_SPEED_LIMIT, (long)LOW_SPEED_BYTES);
    curl_easy_setopt(d->easy, CURLOPT_LOW_SPEED_TIME, (long)LOW_SPEED_TIME_S);
    curl_easy_setopt(d->easy, CURLOPT_USERAGENT, "vmctl/" VMCTL_VERSION);
    curl_easy_setopt(d->easy, CURLOPT_ERRORBUFFER, d->curl_text);
    curl_easy_setopt(d->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(d->easy, CURLOPT_WRITEDATA, d);
    set_range(d);
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
    part_clear(&d->part);
}

void download_restart(struct download *d)
{
    close_part(d);
    part_discard(&d->part);
    d->at = 0;
    d->must_restart = false;
    error_clear(&d->failure);
    set_range(d);
}

static int set_http_error(const char *url, long status, struct error *err)
{
    bool is_gone = status == 404 || status == 410;
    if (is_gone) {
        return error_set(
            err, ERR_IMAGE_NOT_FOUND, "no image at %s (HTTP status %ld)", url, status);
    }
    return error_set(err, ERR_IMAGE_DOWNLOAD, "cannot download %s: HTTP status %ld", url, status);
}

static int set_curl_error(
    const struct download *d, const char *url, CURLcode code, struct error *err)
{
    /* Its text may quote what the server sent. */
    const char *text = d->curl_text[0] ? d->curl_text : curl_easy_strerror(code);
    cleanup_buf struct buf printable = BUF_INIT(4 * CURL_ERROR_SIZE);
    text_add_printable(&printable, text, strlen(text));
    return error_set(
        err, ERR_IMAGE_DOWNLOAD, "cannot download %s: %s", url, buf_str(&printable));
}

static int set_error(struct download *d, CURLcode code, long status, struct error *err)
{
    cleanup_free char *url = url_for_people(d->part.url);
    if (d->failure.code != ERR_NONE) {
        *err = d->failure;
        return error_wrap(err, "cannot download %s", url);
    }
    return code == CURLE_HTTP_RETURNED_ERROR ? set_http_error(url, status, err)
                                             : set_curl_error(d, url, code, err);
}

bool download_result(struct download *d, CURLcode code, int *ret_rc, struct error *err)
{
    long status = 0;
    (void)curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
    close_part(d);
    bool is_refused_range = code == CURLE_HTTP_RETURNED_ERROR && status == 416;
    if (d->part.have > 0 && (d->must_restart || is_refused_range)) {
        return true;
    }
    if (code == CURLE_OK && d->at == 0) {
        error_set(&d->failure, ERR_IMAGE_DOWNLOAD, "the server sent no bytes");
    }
    bool is_good = code == CURLE_OK && d->failure.code == ERR_NONE;
    *ret_rc = is_good ? 0 : set_error(d, code, status, err);
    return false;
}
