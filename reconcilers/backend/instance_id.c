/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/instance_id.h"

#include <stdio.h>
#include <string.h>

bool instance_id_to_uuid(const char *instance_id, char *out)
{
    if (strlen(instance_id) != 32 || strspn(instance_id, "0123456789abcdef") != 32) {
        return false;
    }
    (void)snprintf(out, IID_UUID_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", instance_id, instance_id + 8,
        instance_id + 12, instance_id + 16, instance_id + 20);
    return true;
}
