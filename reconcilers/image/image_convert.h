/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Checking a qcow2, or making one of another hypervisor's image, by qemu-img(1) as a child: under a
 * deadline and a limit of memory, given the format, and with one file to open, whatever it names.
 * The new file is a temporary one (images/.part/KEY.tmp-*, swept at the start) until
 * image_file_fill() has checked, synced and named it: killed anywhere before that, all is done
 * again from the same source.
 */
#pragma once

#include <stdbool.h>

#include "controller/loop/child.h"
#include "specs/base/digest.h"

struct error;
struct image_foreign;
struct paths;

struct image_conversion {
    const struct image_foreign *format; /* NULL: a qcow2, to be checked. Static */
    char *from;                         /* absolute; NULL: nothing to do */
    bool from_is_temporary;
    char *to; /* does not exist yet; NULL: a check only */
    /* sha256 of the source's bytes as downloaded and, the same if they were not packed, of the
     * image in them. Checked already. */
    char source_sha[DIGEST_SIZE];
    char unpacked_sha[DIGEST_SIZE];
    bool is_done;
};

/* Removes the temporary files, too. A conversion of zeros is fine, and what this leaves. */
void image_conversion_clear(struct image_conversion *conversion);

/* Returns an unused file name in images/.part. free() it. */
char *image_temporary_path(const struct paths *paths, const char *key);

/* `conversion` is copied as far as it is needed. The deadline grows with the size of the source.
 * What qemu-img finds to be cut off is not converted: it would fill what is missing with zeros. */
struct op *image_convert_start(struct loop *loop, const struct image_conversion *conversion,
    child_done_fn *done, void *context);

/* Sets -ERR_IMAGE_FORMAT (a qcow2 that is damaged), -ERR_IMAGE_CONVERSION or -ERR_NO_SPACE from
 * what child.h reported. */
int image_convert_error(const char *title, const struct image_conversion *conversion,
    const struct error *child_err, const char *output, struct error *err);
