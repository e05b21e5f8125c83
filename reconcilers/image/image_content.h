/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The sha256 of local image files by their stamp (file_stamp.h): hashed once, off the loop, and
 * kept in memory as long as the controller runs. A file that was copied back, touched or moved is
 * known by it.
 */
#pragma once

#include <stdbool.h>

#include "controller/loop/op.h"

struct image_contents;
struct reconciler_host;

struct image_contents *image_contents_new(struct reconciler_host *host);
void image_contents_free(struct image_contents *contents); /* its operations must be over */

/* The sha256 of the file that has, or had, this stamp; NULL: not known. Borrowed. */
const char *image_content_of_stamp(const struct image_contents *contents, const char *stamp);

/* What else was found of a file of this stamp, in one word: a sha256= that is right for it … */
bool image_content_is(const struct image_contents *contents, const char *stamp, const char *word);
void image_content_note(struct image_contents *contents, const char *stamp, const char *word);

/* Hashes the file at `path` if that is not known; the hash is kept even if the operation is
 * cancelled, and several operations share it. -ERR_IMAGE_NOT_FOUND, -ERR_IO; -ERR_IMAGE_CHANGED: it
 * changed meanwhile. */
struct op *image_content_find(
    struct image_contents *contents, const char *path, op_done_fn *done, void *context);
