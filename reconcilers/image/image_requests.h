/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Carries out what `vmctl image` asks for (specs/image/image_request.h). Level-triggered: each look
 * at the image table starts what is asked for and not under way, so a controller that was killed
 * begins again with what it left.
 */
#pragma once

#include "controller/reconciler.h"

/* `host`, and the source of `pins`, must outlive it. It is freed before media_free(): that stops
 * what is under way and writes nothing. */
struct image_handler *image_requests_new(struct reconciler_host *host, struct image_pins pins);
