/* SPDX-License-Identifier: MPL-2.0 */
/* Which host port and MAC address a VM gets. Leases in the store make both exclusive among VMs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct reconciler_host;
struct spec_network;

/* The range for SSH forwards on 127.0.0.1; when it is full, a free port above it is used. */
enum { PORT_SSH_FIRST = 10022, PORT_SSH_LAST = 10122 };

/* The port of a VM that has none: fixed by its name if that is free, else the next free one. */
uint16_t ports_first_ssh(struct reconciler_host *host, const char *vm_name);
/* The next free port after `taken`, never `taken` itself while there is another. */
uint16_t ports_next_ssh(struct reconciler_host *host, const char *vm_name, uint16_t taken);
/* A port of the same range that no VM holds and no program listens on; which one, follows from
 * `start`. 0: there is none. */
uint16_t ports_free(struct reconciler_host *host, const char *vm_name, uint16_t start);
/* No program listens on it, at 127.0.0.1, now. */
bool ports_is_bindable(uint16_t port);
/* No other VM holds it. */
bool ports_is_available(struct reconciler_host *host, const char *vm_name, uint16_t port);

/* The address of a VM on a project network: `before` if that is one of it, else one that follows
 * from the VM's name; held by no other VM. NULL: there is none left. free() it. */
char *ports_address(struct reconciler_host *host, const char *vm_name,
    const struct spec_network *network, const char *before);

/* "52:54:00:…" from the VM's uid: locally administered, the same for the VM's whole life, and held
 * by no other VM. free() it. */
char *ports_mac(struct reconciler_host *host, const char *vm_name, const char *uid);
