/* SPDX-License-Identifier: MPL-2.0 */
/* The address of a guest on a bridge: the kernel's neighbours, then leases of dnsmasq. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The address of the guest with MAC address `mac` ("52:54:00:12:34:56") on `bridge` (NULL: the
 * default one), as of `wall_s` (seconds since 1970). False when nothing on this host knows one
 * (yet): not an error, try again later. `ret_ip` holds INET6_ADDRSTRLEN bytes, written only on
 * success.
 *
 * Lease files are those of dnsmasq itself, libvirt, NetworkManager, LXC, LXD and Incus, or what
 * $VMCTL_DNSMASQ_LEASES names instead (a path or glob(7) pattern). Of leases in several files the
 * one that ends last counts. Does not block, reads small local files: tens of microseconds.
 */
bool address_find(const char *bridge, const char *mac, int64_t wall_s, char *ret_ip);
