/* SPDX-License-Identifier: MPL-2.0 */
/* Whether any of a VMFile and the files it names may have changed, without reading them. */
#pragma once

#include "specs/base/digest.h"

struct strings;

/* Digests inode, size and times of each file, or its absence, into `ret_stamp` (DIGEST_SIZE bytes);
 * "" if a file was changed so recently that its next change might leave the same stamp. */
void source_stamp(const char *path, const struct strings *named, char *ret_stamp);
