/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/url.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/mem.h"

char *url_without_query(const char *url)
{
    return mem_strndup(url, strcspn(url, "?#"));
}

/* `end` when none is before it. */
static const char *find_any(const char *from, const char *end, const char *bytes)
{
    while (from < end && (!*from || !strchr(bytes, *from))) {
        from++;
    }
    return from;
}

/* The value of a path's next parameter, ";name=value" (RFC 3986, 3.3): servers take signatures
 * there, too. NULL: there is none. */
static const char *find_parameter(const char *from, const char *end)
{
    const char *semicolon = NULL;
    while ((semicolon = find_any(from, end, ";")) < end) {
        const char *equals = find_any(semicolon, end, "=/");
        if (equals < end && *equals == '=') {
            return equals + 1;
        }
        from = equals;
    }
    return NULL;
}

char *url_for_people(const char *url)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    const char *authority = strstr(url, "://");
    if (!authority) { /* a path may have a '?' in it */
        return mem_strdup(url);
    }
    authority += strlen("://");
    buf_add(&out, url, (size_t)(authority - url));
    const char *at = memrchr(authority, '@', strcspn(authority, "/?#"));
    const char *rest = at ? at + 1 : authority;
    size_t shown = strcspn(rest, "?#");
    const char *end = rest + shown, *value = NULL;
    for (const char *from = rest; (value = find_parameter(from, end)); from = rest) {
        buf_add(&out, from, (size_t)(value - from));
        buf_add_str(&out, "…");
        rest = find_any(value, end, ";/");
    }
    buf_add(&out, rest, (size_t)(end - rest));
    if (*end == '?') {
        buf_add_str(&out, "?…");
    }
    return buf_steal(&out);
}

/* Where the URL ends whose "://" is at `at`: at the quotation mark that it begins with, or at the
 * first blank; what ends the sentence around it is none of it. */
static size_t url_end(const char *text, size_t size, size_t at)
{
    static const char of_scheme[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.";
    size_t start = at;
    while (start > 0 && text[start - 1] && strchr(of_scheme, text[start - 1])) {
        start--;
    }
    char mark =
        start > 0 && text[start - 1] && strchr("\"'`", text[start - 1]) ? text[start - 1] : 0;
    const char *closing = mark ? memchr(text + at, mark, size - at) : NULL;
    if (closing) {
        return (size_t)(closing - text);
    }
    size_t end = at;
    while (end < size && !strchr(" \t\r\n", text[end])) { /* or at a NUL */
        end++;
    }
    while (end > at && strchr("\"'`:;,.)}]>", text[end - 1])) {
        end--;
    }
    return end;
}

/* Whether "://" of the text at `colon` is behind that name. */
static bool is_of_scheme(const char *text, const char *colon, const char *name)
{
    size_t n = strlen(name);
    return (size_t)(colon - text) >= n && strncmp(colon - n, name, n) == 0;
}

/* A URL in a text: the colon behind its scheme, and the host with what is before its '@'. */
struct found_url {
    const char *colon, *host;
};

/* One whose slashes were forgotten, "http:user:password@host", is as secret. The text has no "://".
 */
static bool find_slip(const char *from, const char *end, struct found_url *ret)
{
    for (; (from = memmem(from, (size_t)(end - from), "http", strlen("http"))); from++) {
        const char *colon = from + strlen("http");
        colon += colon < end && *colon == 's';
        if (colon < end && *colon == ':') {
            ret->colon = colon;
            ret->host = colon + 1 + (colon + 1 < end && colon[1] == '/');
            return true;
        }
    }
    return false;
}

static bool find_url(const char *from, const char *end, struct found_url *ret)
{
    struct found_url slip = {.colon = NULL};
    ret->colon = memmem(from, (size_t)(end - from), "://", strlen("://"));
    ret->host = ret->colon ? ret->colon + strlen("://") : NULL;
    if (find_slip(from, ret->colon ? ret->colon : end, &slip)) {
        *ret = slip;
    }
    return ret->colon;
}

static bool mark_range(const char *text, bool *marks, const char *from, const char *end)
{
    /* What url_for_people() has omitted is no secret any more. */
    static const char omitted[] = "…";
    bool is_omitted =
        (size_t)(end - from) == strlen(omitted) && strncmp(from, omitted, strlen(omitted)) == 0;
    if (from >= end || is_omitted) {
        return false;
    }
    memset(marks + (from - text), true, (size_t)(end - from));
    return true;
}

bool url_mark_secrets(const char *text, size_t size, bool *marks)
{
    bool has_marked = false;
    struct found_url url;
    for (const char *from = text; find_url(from, text + size, &url);) {
        const char *end = text + url_end(text, size, (size_t)(url.colon - text));
        end = end > url.host ? end : url.host;
        const char *path = find_any(url.host, end, "/?#"), *query = find_any(path, end, "?#");
        const char *at = memrchr(url.host, '@', (size_t)(path - url.host));
        bool is_login = is_of_scheme(text, url.colon, "ssh"); /* whose user is no secret */
        const char *colon = at ? memchr(url.host, ':', (size_t)(at - url.host)) : NULL;
        const char *secret = is_login ? (colon ? colon + 1 : at) : url.host;
        has_marked |= at && mark_range(text, marks, secret, at);
        for (const char *value = path; (value = find_parameter(value, query));) {
            const char *behind = find_any(value, query, ";/");
            has_marked |= mark_range(text, marks, value, behind);
            value = behind;
        }
        has_marked |= query < end && mark_range(text, marks, query + 1, end);
        from = end;
    }
    return has_marked;
}

void url_mask(char *text)
{
    enum { STARS = 3 };
    size_t size = strlen(text), n = 0, stars = 0;
    struct found_url first;
    if (!find_url(text, text + size, &first)) { /* nearly always, and of each message */
        return;
    }
    cleanup_free bool *marks = mem_calloc(size + 1, sizeof(*marks));
    if (!url_mark_secrets(text, size, marks)) {
        return;
    }
    for (size_t i = 0; i < size; i++) {
        stars = marks[i] ? stars + 1 : 0;
        if (!marks[i] || stars <= STARS) {
            text[n++] = (char)(marks[i] ? '*' : text[i]);
        }
    }
    text[n] = '\0';
}

char *url_host(const char *url)
{
    const char *authority = strstr(url, "://");
    authority = authority ? authority + strlen("://") : url;
    size_t n = strcspn(authority, "/?#\\");
    const char *at = memrchr(authority, '@', n);
    const char *host = at ? at + 1 : authority;
    size_t left = n - (size_t)(host - authority);
    const char *bracket = *host == '[' ? memchr(host, ']', left) : NULL;
    const char *colon = memchr(host, ':', left);
    size_t length = bracket ? (size_t)(bracket + 1 - host) : colon ? (size_t)(colon - host) : left;
    return mem_strndup(host, length);
}

char *url_last_component(const char *url)
{
    cleanup_free char *path = strstr(url, "://") ? url_without_query(url) : mem_strdup(url);
    for (size_t n = strlen(path); n > 0 && path[n - 1] == '/';) {
        path[--n] = '\0';
    }
    const char *slash = strrchr(path, '/');
    return mem_strdup(slash && slash[1] ? slash + 1 : path);
}

bool url_is_file(const char *url)
{
    return strncasecmp(url, "file:", strlen("file:")) == 0;
}

static int hex_value(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* NULL when an escape is malformed or encodes a NUL. */
static char *percent_decode(const char *s)
{
    cleanup_buf struct buf out = BUF_INIT(0);
    for (; *s; s++) {
        if (*s != '%') {
            buf_add_char(&out, *s);
            continue;
        }
        int high = hex_value(s[1]);
        int low = high >= 0 ? hex_value(s[2]) : -1;
        if (low < 0 || (high == 0 && low == 0)) {
            return NULL;
        }
        buf_add_char(&out, (char)(high * 16 + low));
        s += 2;
    }
    return buf_steal(&out);
}

char *url_file_path(const char *url)
{
    if (!url_is_file(url)) {
        return NULL;
    }
    const char *path = url + strlen("file:");
    if (strncmp(path, "//", 2) == 0) {
        path += 2;
        bool is_named = strncasecmp(path, "localhost/", strlen("localhost/")) == 0;
        path += is_named ? strlen("localhost") : 0;
    }
    return path[0] == '/' ? percent_decode(path) : NULL;
}
