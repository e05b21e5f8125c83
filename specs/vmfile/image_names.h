/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Resolves images by name, such as `image "debian:12"`. A catalogue is a KDL file; the one that is
 * installed with vmctl, and the user's own, whose entries replace those of the same name
 * (specs/VMFILE.md, "Images by name").
 *
 * A VM has only the name; its URL is looked up when it is needed, so a change of the catalogue
 * changes no VM.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "specs/base/strings.h"
#include "specs/vm/vm_spec.h"

struct error;

struct named_image {
    struct strings names; /* the first is its own, the others lead to it */
    char *about;
    char *url;
    char *sums; /* URL of the publisher's list of check sums (specs/image/image_sums.h) */
    char *user; /* whom its cloud-init makes; NULL: not said */
    enum arch arch;
    enum firmware firmware;
    enum seed_bus bus;
    bool is_own; /* of the user's catalogue */
};

struct image_names {
    struct named_image *items;
    size_t count;
    char *own_path; /* of the user's catalogue, which need not be there */
};

/* Adds the entries for the processors that VMs here can have; those for another one than this
 * host's under names with it behind: "debian:12+aarch64". -ERR_VMFILE_INVALID: the catalogue is not
 * valid; `path` is how messages call it. */
int image_names_add(struct image_names *names, const char *text, size_t n, const char *path,
    bool is_own, struct error *err);

/* Reads both catalogues; one that is not there has no entries. Blocks, on the user's disk for no
 * longer than specs/base/user_path.h has it. image_names_clear() it in any case. */
int image_names_load(struct image_names *ret, struct error *err);
void image_names_clear(struct image_names *names); /* zeroed is fine */

/* NULL: no image has that name. Borrowed. */
const struct named_image *image_names_find(const struct image_names *names, const char *name);

/* The one for VMs of that processor. */
const struct named_image *image_names_find_for(
    const struct image_names *names, const char *name, enum arch arch);

/* Whether a word may be meant as a name, and not as a path: it has no '/' and does not begin with
 * '~' or '.'. */
bool image_name_is_meant(const char *word);

/* Takes over name, user, firmware and seed bus. */
void named_image_apply(const struct named_image *image, struct vm_spec *spec);
