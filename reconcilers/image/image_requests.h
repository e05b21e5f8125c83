/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Carries out what `vmctl image` asks for (specs/image/image_request.h). Level-triggered: each look at the
 * image table starts what is asked for and not under way, so a controller that was killed begins
 * again with what it left.
 */
#pragma once

#include "specs/base/json.h"

struct image_requests;
struct reconciler_host;
struct vm_registry;

/* Both borrowed; the registry must outlive it. */
struct image_requests *image_requests_new(
    struct reconciler_host *host, const struct vm_registry *registry);

/* Before media_free(). Stops what is under way and writes nothing. NULL is fine. */
void image_requests_free(struct image_requests *requests);

/* `images` is the image table. */
void image_requests_poll(struct image_requests *requests, const json_t *images);
