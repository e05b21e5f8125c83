/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The header of a member of a tar archive, as POSIX.1-1988 (ustar) has it, and a size of 8 GiB or
 * more as GNU tar writes it. Of what others write only plain files are understood: no links,
 * devices, directories, or names of several parts. Pure.
 */
#pragma once

#include <stdint.h>

struct error;

enum { TAR_BLOCK = 512, TAR_NAME_SIZE = 100 };

struct tar_member {
    char name[TAR_NAME_SIZE]; /* without a slash */
    uint64_t size;            /* bytes; the next header follows at a whole block */
};

void tar_header_write(const struct tar_member *member, uint8_t ret[TAR_BLOCK]);

enum tar_header_kind {
    TAR_FILE,
    TAR_END,     /* a block of zeros */
    TAR_OTHER,   /* well formed, and no plain file; see ret->name */
    TAR_DAMAGED, /* no header at all */
};
enum tar_header_kind tar_header_read(const uint8_t bytes[TAR_BLOCK], struct tar_member *ret);
