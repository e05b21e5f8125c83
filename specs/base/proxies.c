/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/base/proxies.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/url.h"

static const struct field proxies_rows[] = {
    FIELD(struct proxies, http, "http", .omit_empty = true),
    FIELD(struct proxies, https, "https", .omit_empty = true),
    FIELD(struct proxies, http_variable, "httpVariable", .omit_empty = true),
    FIELD(struct proxies, https_variable, "httpsVariable", .omit_empty = true),
    FIELD(struct proxies, direct, "direct", .omit_empty = true),
};
const struct fields proxies_fields = {FIELDS_OF(proxies_rows, struct proxies)};

DEFINE_RECORD(proxies, &proxies_fields)

void proxies_assign(struct proxies *to, const struct proxies *from)
{
    struct proxies *copy = proxies_copy(from);
    struct proxies old = *to;
    *to = *copy;
    *copy = old;
    proxies_free(copy);
}

/* The first of the variables that has a value, encoded; NULL: none. free() both. */
static char *read_variable(const char *const names[], char **ret_name)
{
    enum { VALUE_MAX = 8192 };
    struct buf out = BUF_INIT(VALUE_MAX);
    const char *value = NULL;
    size_t i = 0;
    while (names[i] && !((value = getenv(names[i])) && value[0])) {
        i++;
    }
    for (; names[i] && *value; value++) {
        unsigned char c = (unsigned char)*value;
        bool is_plain = c >= ' ' && c < 0x7f;
        buf_printf(&out, is_plain ? "%c" : "%%%02X", c);
    }
    if (!names[i] || out.is_full) {
        buf_clear(&out);
        return NULL;
    }
    if (ret_name) {
        *ret_name = mem_strdup(names[i]);
    }
    return buf_steal(&out);
}

struct proxies *proxies_of_environment(void)
{
    static const char *const https[] = {
        "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", NULL};
    static const char *const http[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", NULL};
    static const char *const of_cgi[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
    static const char *const direct[] = {"no_proxy", "NO_PROXY", NULL};
    struct proxies *proxies = fields_new(&proxies_fields);
    proxies->http =
        read_variable(getenv("REQUEST_METHOD") ? of_cgi : http, &proxies->http_variable);
    proxies->https = read_variable(https, &proxies->https_variable);
    proxies->direct = read_variable(direct, NULL);
    char **urls[] = {&proxies->http, &proxies->https};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        if (*urls[i] && !strstr(*urls[i], "://")) {
            cleanup_free char *host = *urls[i];
            *urls[i] = mem_printf("http://%s", host);
        }
    }
    return proxies;
}

/* Whether an address is in "address/bits" or is that address; both as text, n bytes of it. */
static bool is_in_network(const char *host, const char *network, size_t n)
{
    char text[INET6_ADDRSTRLEN + 1];
    uint8_t a[16] = {0}, b[16] = {0};
    const char *slash = memchr(network, '/', n);
    size_t length = slash ? (size_t)(slash - network) : n;
    int family = strchr(host, ':') ? AF_INET6 : AF_INET;
    unsigned all = family == AF_INET6 ? 128 : 32;
    if (length >= sizeof(text)) {
        return false;
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)length, network);
    unsigned long bits = slash ? strtoul(slash + 1, NULL, 10) : all;
    if (inet_pton(family, host, a) != 1 || inet_pton(family, text, b) != 1 || bits > all) {
        return false;
    }
    size_t whole = bits / 8;
    uint8_t mask = (uint8_t)(0xff00U >> (bits % 8));
    return memcmp(a, b, whole) == 0 && (bits % 8 == 0 || ((a[whole] ^ b[whole]) & mask) == 0);
}

/* As curl(1) reads no_proxy: names stand for their domains, too. */
static bool is_direct(const char *host, const char *list)
{
    static const char between[] = ", \t";
    size_t n_host = strlen(host);
    for (list += strspn(list, between); *list; list += strspn(list, between)) {
        size_t n = strcspn(list, between);
        size_t dots = n > 1 && *list == '.' ? 1 : 0;
        const char *name = list + dots;
        size_t length = n - dots;
        length -= length > 1 && name[length - 1] == '.' ? 1 : 0;
        const char *end = host + n_host - (length < n_host ? length : n_host);
        bool is_end = length <= n_host && strncasecmp(end, name, length) == 0;
        if ((length == 1 && *name == '*') || is_in_network(host, name, length) ||
            (is_end && (end == host || end[-1] == '.'))) {
            return true;
        }
        list += n;
    }
    return false;
}

const char *proxies_find(const struct proxies *proxies, const char *url, const char **ret_variable)
{
    bool is_https = strncasecmp(url, "https:", strlen("https:")) == 0;
    const char *proxy = !proxies ? NULL : is_https ? proxies->https : proxies->http;
    if (!proxy || !strstr(url, "://")) {
        return NULL;
    }
    cleanup_free char *host = url_host(url);
    size_t n = strlen(host);
    if (host[0] == '[' && host[n - 1] == ']') {
        memmove(host, host + 1, n - 1);
        host[n - 2] = '\0';
    } else if (n > 1 && host[n - 1] == '.') {
        host[n - 1] = '\0';
    }
    *ret_variable = is_https ? proxies->https_variable : proxies->http_variable;
    return proxies->direct && is_direct(host, proxies->direct) ? NULL : proxy;
}

void proxies_blame(const struct proxies *proxies, const char *url, struct error *err)
{
    const char *variable = NULL;
    const char *proxy = proxies_find(proxies, url, &variable);
    if (proxy) {
        cleanup_free char *shown = url_for_people(proxy);
        variable = variable ? variable : "http_proxy";
        (void)error_wrap(err, "through the proxy %s (%s of the command)", shown, variable);
        if (!err->help[0]) {
            (void)error_help(err,
                "if the proxy is at fault: unset %s, or add the host to no_proxy, then run the "
                "command again",
                variable);
        }
    }
}
