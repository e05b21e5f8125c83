/* SPDX-License-Identifier: MPL-2.0 */
/* The address of a VM's propolis-server. */
#pragma once

#include <stdbool.h>

struct vm_instance;

/* The version of propolis-server's interface that vmctl speaks, and the oldest that takes the same
 * requests: for a server that knows no newer one. Header "api-version" of each request. */
#define PROPOLIS_API_VERSION "5.0.0"
#define PROPOLIS_API_VERSION_OLDEST "1.0.0"

/* "HOST:PORT" of `server`, which may lack the port (12400); NULL: VMCTL_PROPOLIS_ADDRESS, else
 * 127.0.0.1:12400. free() it. */
char *propolis_address(const char *server);

/* Whether `answer`, a body with status 400, says that the server does not know the version. */
bool propolis_is_version_refused(const char *answer);

/* URL of the console of an instance as recorded. free() it. */
char *propolis_console_url(const struct vm_instance *instance);
