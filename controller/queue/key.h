/* SPDX-License-Identifier: MPL-2.0 */
/* What the work queue holds: the name of one object, in the name space of its kind. */
#pragma once

enum key_kind {
    KEY_VM,     /* a VM, by its name */
    KEY_SOURCE, /* a watched VMFile or directory, by its path */
    KEY_IMAGE,  /* a request for images, or an image being downloaded, by the key of its record
                   (specs/image/image_request.h) */
    KEY_KIND_COUNT_
};

struct key {
    enum key_kind kind;
    const char *name; /* borrowed */
};

static inline struct key key_of(enum key_kind kind, const char *name)
{
    return (struct key){.kind = kind, .name = name};
}
