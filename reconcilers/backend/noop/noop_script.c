/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/noop/noop_script.h"

int64_t noop_script_int(
    const struct reconciler_host *host, const char *vm_name, const char *key, int64_t otherwise)
{
    (void)host;
    (void)vm_name;
    (void)key;
    return otherwise;
}

bool noop_script_flag(const struct reconciler_host *host, const char *vm_name, const char *key)
{
    (void)host;
    (void)vm_name;
    (void)key;
    return false;
}
