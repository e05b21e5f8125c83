/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Executes the requests of `vmctl image` (specs/image/image_request.h): the reconciler of
 * KEY_IMAGE. Level-triggered: a pass reads the record of the request and the state of the pull
 * under way, and writes the outcome by its patch.
 *
 *   record            job                    the pass
 *   not answered      none                   begins: a pull, or removes images at once
 *   not answered      pull under way         nothing
 *   not answered      ended                  writes the outcome; the job goes with the commit
 *   gone, answered    pull under way         cancels it: what is downloaded stays
 *   answered          none                   removes the record when no one fetched it in time
 *
 * It also keeps the records of images that are being downloaded for any purpose, as
 * image_cache_describe() reports them: at most two writes per second and download, of which there
 * are few at a time.
 *
 * After a kill, the next controller starts each unanswered request again. If the kill came between
 * the removal of images and the commit of the outcome, it reports that there are no such images.
 */
#pragma once

#include "reconcilers/image/image_removal.h"

/* `host`, and the source of `pins`, must outlive it. It is freed before media_free(): that stops
 * what is under way and writes nothing. */
struct reconciler *image_requests_new(struct reconciler_host *host, struct image_pins pins);
