/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The proxies that a command's environment names, recorded with what it requests: a download uses
 * its caller's proxies, whatever the environment of the shell was that started vmctld.
 *
 * http_proxy, https_proxy, all_proxy and no_proxy as curl(1) reads them; a lower-case name before
 * an upper-case one, a scheme's own before all_proxy, and an empty value is none.
 */
#pragma once

#include <stdbool.h>

#include "specs/base/json.h"

struct error;
struct fields;

/* Members are NULL where nothing is named. The URLs may have passwords in them: url_for_people().
 */
struct proxies {
    char *http, *https; /* URL of the proxy for http: and for https: URLs, always with a scheme */
    char *http_variable, *https_variable; /* which named it: "ALL_PROXY" */
    char *direct; /* no_proxy: hosts, domains, addresses and networks, by comma or blank; "*" */
};

/* Of this process. HTTP_PROXY does not count in a CGI program (REQUEST_METHOD is set), where the
 * client of the web server chooses it. Bytes that cannot be in a URL are percent-encoded.
 * proxies_free() it. */
struct proxies *proxies_of_environment(void);
void proxies_free(struct proxies *proxies); /* NULL is fine */
struct proxies *proxies_copy(const struct proxies *proxies);
bool proxies_equal(const struct proxies *a, const struct proxies *b);
void proxies_assign(struct proxies *to, const struct proxies *from); /* frees what `to` had */
json_t *proxies_to_json(const struct proxies *proxies);              /* caller owns */
extern const struct fields proxies_fields;

/* The proxy that a request for `url` goes through, borrowed; NULL: none. `proxies` may be NULL. */
const char *proxies_find(const struct proxies *proxies, const char *url, const char **ret_variable);

/* When a request for `url` goes through a proxy, the error of that request names it, without its
 * password, and the variable that named it; a help line of its own stays. */
void proxies_blame(const struct proxies *proxies, const char *url, struct error *err);
