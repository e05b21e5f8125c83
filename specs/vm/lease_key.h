/* SPDX-License-Identifier: MPL-2.0 */
/* The keys of leases, which make one VM's what only one can have: "tcp/8080" of a host port
 * (forward_lease_key()), "mac/52:54:00:12:34:56", "net/NETWORK/10.1.2.3", "name/web" of the name
 * that a VM had before, "socket//home/me/docker.sock". */
#pragma once

#include <stddef.h>

struct vm_spec;

/* Of an address on a project network, and of a MAC address. free() them. */
char *address_lease_key(const char *network, const char *address);
char *mac_lease_key(const char *mac);
char *name_lease_key(const char *vm_name); /* free() it */
/* Of a socket of this host that leads into a guest. free() it. */
char *socket_lease_key(const char *path);

/* Those of what the spec names: the host ports of its forwards and of its screen, its MAC address
 * and its address. NULL at the end; free() it. */
char *vm_spec_lease_key(const struct vm_spec *spec, size_t i);

/* "host port tcp/8080", "MAC address 52:54:00:12:34:56". free() it. */
char *lease_in_words(const char *key);

/* Of its record: "mac", "port", "socket". Static text. */
const char *lease_purpose(const char *key);
