/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/iid.h"

#include <stdio.h>
#include <string.h>

bool iid_to_uuid(const char *iid, char *out)
{
    if (strlen(iid) != 32 || strspn(iid, "0123456789abcdef") != 32) {
        return false;
    }
    (void)snprintf(out, IID_UUID_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", iid, iid + 8, iid + 12,
        iid + 16, iid + 20);
    return true;
}
