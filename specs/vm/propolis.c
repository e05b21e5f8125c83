/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/propolis.h"

#include <stdlib.h>

#include "specs/base/mem.h"

const char *propolis_address(void)
{
    const char *address = getenv("VMCTL_PROPOLIS_ADDRESS");
    return address && address[0] ? address : "127.0.0.1:12400";
}

char *propolis_console_url(void)
{
    return mem_printf("ws://%s/instance/serial", propolis_address());
}
