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
    buf_add(&out, rest, shown);
    if (rest[shown] == '?') {
        buf_add_str(&out, "?…");
    }
    return buf_steal(&out);
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
