/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Carries out what `vmctl image` asks for (specs/image/image_request.h). Level-triggered: each look at the
 * image table starts what is asked for and not under way, so a controller that was killed begins
 * again with what it left.
 */
#pragma once

#include "specs/base/json.h"

struct image_wishes;
struct reconciler_host;
struct vm_registry;

/* Both borrowed; the registry must outlive it. */
struct image_wishes *image_wishes_new(
    struct reconciler_host *host, const struct vm_registry *registry);

/* Before media_free(). Stops what is under way and writes nothing. NULL is fine. */
void image_wishes_free(struct image_wishes *wishes);

/* `images` is the image table. */
void image_wishes_look(struct image_wishes *wishes, const json_t *images);
