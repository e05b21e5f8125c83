/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Files that would be taken for raw disks, by their size, and that no machine boots: archives that
 * hold a disk, pages that a web server sent instead of one, documents, encrypted containers,
 * installation media, disks that are cut off. Used by everything that takes an image, so that all
 * agree.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct user_file;

/* What a file that begins with these bytes (IMAGE_HEAD_SIZE are enough) is instead of a disk: "a
 * tar archive"; NULL: nothing that is known. Static. */
const char *image_stranger_of_head(const uint8_t *head, size_t n);

/* The same of a packed file, by the end of its name (.tar.gz .tgz …). */
const char *image_stranger_of_name(const char *name);

/* -ERR_IMAGE_FORMAT for what `what` names: says it, and what to do. */
int image_stranger_error(const char *title, const char *what, struct error *err);

/* Looks at the file, for a disk without a format of its own (raw). Blocks. -ERR_IMAGE_FORMAT;
 * `title` is what messages call it. `is_new`: it is not in use yet, and has to be whole. */
int image_stranger_check(struct user_file *file, const char *title, bool is_new, struct error *err);
