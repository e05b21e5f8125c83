/* SPDX-License-Identifier: MPL-2.0 */
/* The DHCP server of a project network (RFC 2131, 2132, 3397): each port has one address, always
 * the same, which vmctld has leased. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DHCP_SERVER_PORT = 67, DHCP_CLIENT_PORT = 68, DHCP_REPLY_MAX = 576 };

/* What a port is answered with. */
struct dhcp_lease {
    const uint8_t *mac;
    uint32_t address, mask, gateway, nameserver;
    const char *host;   /* the guest's name */
    const char *domain; /* in which names are searched */
    bool is_further;    /* no way out is offered, … */
    bool has_no_names;  /* … no name server, and no names of any kind */
};

/*
 * Writes the answer to a client's message: an offer, an acknowledgement, or a refusal of another
 * address. Its length; 0: there is none. `out` holds DHCP_REPLY_MAX bytes. *ret_to becomes the
 * address to send it to.
 */
size_t dhcp_answer(const uint8_t *request, size_t n, const struct dhcp_lease *lease, uint8_t *out,
    uint32_t *ret_to);
