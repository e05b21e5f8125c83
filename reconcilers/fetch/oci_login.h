/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where credentials for a registry come from: $GITHUB_TOKEN for ghcr.io, else `docker login`'s
 * $DOCKER_CONFIG/config.json or ~/.docker/config.json, in the environment of vmctld. Credential
 * helpers are not run.
 */
#pragma once

/* "user:password", NULL: none. Reads a small file. free() it; never show it. */
char *oci_login_find(const char *registry);
