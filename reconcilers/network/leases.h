/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The lease database of dnsmasq (dnsmasq(8), --dhcp-leasefile; its lease.c writes it): one lease a
 * line, "EXPIRY MAC ADDRESS HOSTNAME CLIENT-ID", EXPIRY in seconds since 1970, 0 forever. Lines of
 * another form are skipped: DHCPv6 leases, which come after a line "duid …", name the guest by
 * a DUID that need not contain its MAC address; those of other hardware than Ethernet have a prefix
 * ("06-…") before the address. Pure: text in, answer out.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lease {
    char ip[INET_ADDRSTRLEN];
    int64_t expires_s; /* since 1970; INT64_MAX: never */
};

/*
 * The lease of `mac` ("52:54:00:12:34:56", in either case) that holds at `wall_s`; of several the
 * last one. `text` is `n` bytes of any content. False, and *ret untouched, when there
 * is none.
 */
bool leases_find(const char *text, size_t n, const char *mac, int64_t wall_s, struct lease *ret);
