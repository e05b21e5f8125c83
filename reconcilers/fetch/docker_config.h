/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The credentials that `docker login` stored: config.json (docker-login(1), "Credential store"),
 * and the protocol of the helper programs that it may name (docker-credential-helpers). Pure but
 * for oci_login_find().
 */
#pragma once

#include <stddef.h>

/* How to log in to a registry. Zero: without credentials. */
struct oci_login {
    char *credentials; /* "user:password"; a secret. NULL: unknown */
    char *helper;      /* the program that may know them, "docker-credential-pass"; NULL: none */
};
void oci_login_clear(struct oci_login *login);

/*
 * From $GITHUB_TOKEN for ghcr.io, else from $DOCKER_CONFIG/config.json or ~/.docker/config.json, or
 * the helper that it names; all in the environment of vmctld. Reads a small file, runs nothing.
 * oci_login_clear() it; never log or show it.
 */
void oci_login_find(const char *registry, struct oci_login *ret);

/* From config.json: auths, else credHelpers, else credsStore. Invalid entries count as absent. */
void docker_config_login(const char *bytes, size_t n, const char *registry, struct oci_login *ret);

/* The name of a registry in the helpers' protocol. Borrowed from the argument. */
const char *docker_helper_server(const char *registry);

/* "user:password" from the output of a helper's `get`; NULL: no valid one. free() it. */
char *docker_helper_credentials(const char *output);
