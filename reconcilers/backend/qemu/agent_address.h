/* SPDX-License-Identifier: MPL-2.0 */
/* The guest's address among what its agent reports of its network (guest-network-get-interfaces).
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

#include "specs/base/json.h"

/*
 * Of the interface with this MAC address, the first of IPv4, else of IPv6, that another host can
 * have: a guest can report what it likes, so never one of this host's own, nor loopback, link-local
 * or multicast. False: there is none.
 */
bool agent_find_address(const json_t *interfaces, const char *mac, char ret[INET6_ADDRSTRLEN]);
