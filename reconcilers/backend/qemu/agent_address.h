/* SPDX-License-Identifier: MPL-2.0 */
/* Finds the guest's address in its agent's report on the network (guest-network-get-interfaces). */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

#include "specs/base/json.h"

/*
 * Returns the first IPv4, else IPv6 address of the interface with this MAC address that another
 * host can have. A guest can report anything, so addresses of this host, loopback, link-local and
 * multicast are skipped. Returns false if there is none.
 */
bool agent_find_address(const json_t *interfaces, const char *mac, char ret[INET6_ADDRSTRLEN]);
