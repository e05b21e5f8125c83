/* SPDX-License-Identifier: MPL-2.0 */
#pragma once

#include <stdbool.h>

#define IID_UUID_SIZE 37

/* An instance id (32 hexadecimal digits) in the form of a UUID (RFC 4122: 8-4-4-4-12); `out` holds
 * IID_UUID_SIZE bytes. False, and `out` untouched, when it is not one. */
bool instance_id_to_uuid(const char *instance_id, char *out);
