/* SPDX-License-Identifier: MPL-2.0 */
/* What a disk image file is, from its first bytes. */
#pragma once

#include "specs/base/json.h"

struct error;

/*
 * Puts into `image`: format ("qcow2", "raw", "zstd", "VMDK", …), of qcow2 and raw virtualSize, and
 * of qcow2 backingFile, if it has one. Whether VMs can be made from it: image_check.h.
 * -ERR_IMAGE_NOT_FOUND, -ERR_IO, -ERR_IMAGE_FORMAT (damaged).
 */
int image_header_read(const char *path, json_t *image, struct error *err);
