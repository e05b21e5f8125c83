/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Where credentials for a registry come from: $GITHUB_TOKEN for ghcr.io, else `docker login`'s
 * $DOCKER_CONFIG/config.json or ~/.docker/config.json, or the helper that it names; all in the
 * environment of vmctld.
 */
#pragma once

#include "reconcilers/fetch/docker_config.h"

/* Reads a small file, runs nothing. oci_login_clear() it; never show it. */
void oci_login_find(const char *registry, struct oci_login *ret);
