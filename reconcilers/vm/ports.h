/* SPDX-License-Identifier: MPL-2.0 */
/* Chooses a VM's host port and MAC address. Leases in the store make both exclusive among VMs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct reconciler_host;
struct spec_network;

/* The range for SSH forwards on 127.0.0.1; when it is full, a free port above it is used. */
enum { PORT_SSH_FIRST = 10022, PORT_SSH_LAST = 10122 };

/* Returns the SSH port for a VM that has none: the one derived from its name if it is free, else
 * the next free one. */
uint16_t ports_first_ssh(struct reconciler_host *host, const char *vm_name);
/* The next free port after `taken`, never `taken` itself while there is another. */
uint16_t ports_next_ssh(struct reconciler_host *host, const char *vm_name, uint16_t taken);
/* Returns the first port of the same range, from `start` on, that no VM holds and no program
 * listens on; 0: none. */
uint16_t ports_free(struct reconciler_host *host, const char *vm_name, uint16_t start);
/* Returns whether no program listens on it at 127.0.0.1 now. */
bool ports_is_bindable(uint16_t port);
/* Returns whether no other VM holds it. */
bool ports_is_available(struct reconciler_host *host, const char *vm_name, uint16_t port);

/* Returns an address for a VM on a project network that no other VM holds: `before` if it belongs
 * to the network, else one derived from the VM's name. NULL: all are in use. free() it. */
char *ports_address(struct reconciler_host *host, const char *vm_name,
    const struct spec_network *network, const char *before);

/* Returns a MAC address "52:54:00:…" derived from the VM's uid: locally administered, constant for
 * the VM's life, and held by no other VM. free() it. */
char *ports_mac(struct reconciler_host *host, const char *vm_name, const char *uid);
