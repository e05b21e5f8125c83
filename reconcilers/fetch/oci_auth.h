/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Getting past a registry's 401, as text: challenges (RFC 9110, 11.6.1), the token protocol of the
 * Distribution project ("Token Authentication Specification"). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What the server wants. Members are NULL when not said. */
struct oci_challenge {
    bool is_bearer; /* else Basic */
    char *realm;    /* of Bearer: the token server's URL */
    char *service;
    char *scope;
};

/* The WWW-Authenticate header(s); Bearer is taken before Basic. False: neither is offered, or it is
 * malformed. */
bool oci_challenge_parse(const char *header, struct oci_challenge *ret);
void oci_challenge_clear(struct oci_challenge *challenge);

/* URL of a token to pull `repository`. free() it. */
char *oci_token_url(const struct oci_challenge *challenge, const char *repository);

/*
 * Whether credentials for the registry at `base` may go to the token server at `realm`: it is the
 * same host, one is a domain of the other, or both are of one (auth.docker.io); and never from
 * https to http. The registry could name any host.
 */
bool oci_realm_is_trusted(const char *base, const char *realm);

/* The token in a token server's answer; NULL: none, or one that must not stand in a header. free()
 * it. */
char *oci_token_read(const char *bytes, size_t n);

/* Values of the Authorization header. free() them. */
char *oci_basic(const char *login);
char *oci_bearer(const char *token);
