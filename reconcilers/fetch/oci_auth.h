/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A registry's authentication as text: challenges (RFC 9110, 11.6.1), the token protocol of the
 * Distribution project ("Token Authentication Specification"). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The authentication that a server requires. Absent members are NULL. */
struct oci_challenge {
    bool is_bearer; /* else Basic */
    char *realm;    /* of Bearer: the token server's URL */
    char *service;
    char *scope;
};

/* Parses the WWW-Authenticate header(s); prefers Bearer to Basic. Returns false when neither is
 * offered, or the offer is malformed. */
bool oci_challenge_parse(const char *header, struct oci_challenge *ret);
void oci_challenge_clear(struct oci_challenge *challenge);

/* URL of a token to pull `repository`. free() it. */
char *oci_token_url(const struct oci_challenge *challenge, const char *repository);

/*
 * Whether credentials for the registry at `base` may be sent to the token server at `realm`, which
 * the registry chose: both are the same host, one is in the other's domain, or both are in one
 * domain (auth.docker.io); never from https to http.
 */
bool oci_realm_is_trusted(const char *base, const char *realm);

/* The token in a token server's response; NULL: none, or one with characters that a header must not
 * contain. free() it. */
char *oci_token_read(const char *bytes, size_t n);

/* Values of the Authorization header. free() them. */
char *oci_basic(const char *login);
char *oci_bearer(const char *token);
