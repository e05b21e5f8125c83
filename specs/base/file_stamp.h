/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Identity of a file without reading it: digest of inode, size and modification time. Not of the
 * device number: that of btrfs, overlayfs and NFS may change with every mount.
 */
#pragma once

#include <stdbool.h>

#include "specs/base/digest.h"

/* False when there is no regular file. */
bool file_stamp(const char *path, char ret_id[DIGEST_SIZE]);
