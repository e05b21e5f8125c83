/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The kernel's table of neighbours (ARP and IPv6 neighbour discovery), as `ip neigh show dev
 * BRIDGE` prints it, by rtnetlink(7). Reading it needs no privilege. The host only knows neighbours
 * it exchanges packets with: a guest served by another machine's DHCP is missing until then.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The address under which the host knows `mac` (6 bytes) on the interface `ifindex`, out of entries
 * that are REACHABLE, STALE, DELAY, PROBE or PERMANENT. IPv4 before IPv6, confirmed before
 * unconfirmed, then the one heard of last. IPv6 link-local addresses are left out: they mean
 * nothing without their interface. `ret_ip` holds INET6_ADDRSTRLEN bytes and is written only on
 * success; false also when the kernel does not answer. Never blocks.
 */
bool neighbours_find(unsigned ifindex, const uint8_t *mac, char *ret_ip);
