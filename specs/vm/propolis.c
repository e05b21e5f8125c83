/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vm/propolis.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/vm/vm_status.h"

#define DEFAULT_HOST "127.0.0.1"
#define DEFAULT_PORT "12400"

char *propolis_address(const char *server)
{
    const char *wanted = server ? server : getenv("VMCTL_PROPOLIS_ADDRESS");
    const char *host = wanted && wanted[0] ? wanted : DEFAULT_HOST;
    const char *literal_end = strchr(host, ']'); /* [2001:db8::5]:12400 */
    bool has_port = strchr(literal_end ? literal_end : host, ':') != NULL;
    return mem_printf("%s%s", host, has_port ? "" : ":" DEFAULT_PORT);
}

/* The words of dropshot, the library propolis-server serves HTTP with. */
bool propolis_is_version_refused(const char *answer)
{
    return strstr(answer, "API version") != NULL;
}

char *propolis_console_url(const struct vm_instance *instance)
{
    cleanup_free char *address = propolis_address(instance->server);
    return mem_printf("ws://%s/instance/serial", address);
}
