/* SPDX-License-Identifier: MPL-2.0 */
/*
 * A request to the controller about images: a record of the image table under "wish/ID".
 * vmctl writes it, vmctld executes it and stores the result in the same record; vmctl then removes
 * it. vmctld removes an answered request after a while. Pure.
 *
 *   new       verb, and by verb: url (named: an image's name), pin (sha256), name, refresh, look
 *             (at what the publisher of a name has) | images (sha256, …) | dryRun
 *             | templates (digest, …; without: all that nobody uses), dryRun
 *             proxies (of the command's environment: specs/base/proxies.h)
 *   answered  state "done", by verb: sha256, path, size, unchanged; of a look published, known,
 *             unchanged | removed [{sha256, size}], freed | removed [{digest, size}], freed
 *             state "failed", error {code, message, help}
 *   either    endedAt, milliseconds of the wall clock
 *
 * An image that is being downloaded has a record under "get/KEY", which vmctld writes and removes,
 * and whose absence means nothing: one that takes no time has none. A record of another `session`
 * than that of the vmctld that runs now is what one that was killed left.
 *
 *   session, phase ("downloading"), url or path, pin (sha256)
 *   vms, pulls                 how many wait for it
 *   have, total (-1: unknown), bytesPerSecond      of a download
 */
#pragma once

#include <stdbool.h>

#include "specs/base/json.h"

struct error;

#define IMAGE_REQUEST_PREFIX "wish/"
#define IMAGE_GETTING_PREFIX "get/"
#define IMAGE_REQUEST_PULL "pull"
#define IMAGE_REQUEST_REMOVE "remove"
#define IMAGE_REQUEST_PRUNE "prune"
#define IMAGE_REQUEST_TEMPLATES "removeTemplates"

/* Digits of a digest that are shown to people, and that are enough to name it. */
enum { IMAGE_DIGEST_SHOWN = 12 };

bool image_request_is_answered(const json_t *request);

/* Stores an error as the result, and reads it back: false when the request has not failed. */
void image_request_fail(json_t *request, const struct error *err);
bool image_request_failure(const json_t *request, struct error *ret);

/* Whether `name` can be a name in the cache: a file name in ASCII of moderate length, not hidden,
 * not an option, not a digest, and not the file name of a cached image. */
bool image_name_is_valid(const char *name);

/* "<64 hexadecimal digits>.qcow2". */
bool image_file_name_is_valid(const char *name);
