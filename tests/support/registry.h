/* SPDX-License-Identifier: MPL-2.0 */
/* A real registry for tests: Debian's docker-registry on a free port of 127.0.0.1, over HTTP, with
 * all it keeps in a directory of the test. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "specs/base/digest.h"

#define REGISTRY_USER "tester"
#define REGISTRY_PASSWORD "s3cret"

struct registry;

/* With `has_login` it wants REGISTRY_USER and REGISTRY_PASSWORD. NULL when docker-registry is not
 * installed or does not start. */
struct registry *registry_start(const char *dir, bool has_login);
void registry_stop(struct registry *registry); /* NULL is fine */
uint16_t registry_port(const struct registry *registry);

/* Uploads a blob, returns its digest; or a manifest under a tag or digest, returns the status. */
void registry_push_blob(struct registry *registry, const char *repository, const void *bytes,
    size_t n, char ret_digest[DIGEST_SIZE]);
long registry_push_manifest(struct registry *registry, const char *repository, const char *target,
    const char *media_type, const char *text);
