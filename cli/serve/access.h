/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Which requests are accepted. On the unix socket, all: only those who can open it send any. On TCP
 * every user of the host can connect, and every page in a browser can make it send requests; so a
 * request must contain the token, which neither has, and
 *   - its Host is an address or "localhost", or was allowed by name: against DNS rebinding, which
 *     needs a name of the attacker's (https://owasp.org/www-community/attacks/DNS_Rebinding);
 *   - its Origin, which browsers send with what another page asks for, is the Host's own.
 */
#pragma once

#include <stdbool.h>

#include "specs/base/strings.h"

struct error;
struct http_request;

enum { ACCESS_TOKEN_MAX = 256 };

struct access {
    char token[ACCESS_TOKEN_MAX + 1]; /* "": none is asked for, nor a Host: it is a unix socket */
    struct strings hosts;             /* names besides "localhost" */
};

/* The HTTP status: 200, or 400, 401 or 403 with *err set. */
unsigned access_check(const struct access *access, const struct http_request *request,
    bool is_public, struct error *err);

/* "Bearer TOKEN": with the token, or where none is asked for. */
bool access_has_token(const struct access *access, const char *authorization);

/*
 * Reads the token at `path`; one that is missing is made, of 256 random bits, with mode 0600.
 * Killed, or done twice at once: there is no file, or one that stays. ERR_USAGE: others can read
 * it, or it is not a token.
 */
int access_read_token(const char *path, char ret[ACCESS_TOKEN_MAX + 1], struct error *err);
