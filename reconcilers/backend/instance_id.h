/* SPDX-License-Identifier: MPL-2.0 */
#pragma once

#include <stdbool.h>

#define IID_UUID_SIZE 37

/* Writes an instance id (32 hexadecimal digits) as a UUID (RFC 4122: 8-4-4-4-12) to `out`, which
 * holds IID_UUID_SIZE bytes. Returns false, and leaves `out` alone, when it is not one. */
bool instance_id_to_uuid(const char *instance_id, char *out);
