/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/switch/dhcp.h"

#include <string.h>

#include "reconcilers/network/switch/packet.h"

/* Places in a message (RFC 2131, figure 1). */
enum {
    OP = 0,
    HTYPE = 1,
    HLEN = 2,
    XID = 4,
    FLAGS = 10,
    CIADDR = 12,
    YIADDR = 16,
    GIADDR = 24,
    CHADDR = 28,
    COOKIE = 236,
    OPTIONS = 240,
};
enum { BOOTREQUEST = 1, BOOTREPLY = 2, BROADCAST = 0x8000, IS_ETHERNET = 1 };
static const uint32_t magic = 0x63825363;

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };

/* Options (RFC 2132; 119: RFC 3397). */
enum {
    O_PAD = 0,
    O_MASK = 1,
    O_ROUTER = 3,
    O_DNS = 6,
    O_HOST_NAME = 12,
    O_DOMAIN = 15,
    O_REQUESTED = 50,
    O_LEASE_TIME = 51,
    O_TYPE = 53,
    O_SERVER = 54,
    O_SEARCH = 119,
    O_END = 255,
};

struct request {
    uint8_t type; /* 0: none */
    uint32_t wanted, server;
};

static void parse_options(const uint8_t *at, const uint8_t *end, struct request *ret)
{
    while (at < end && *at != O_END) {
        if (*at == O_PAD) {
            at++;
            continue;
        }
        if (end - at < 2 || end - at - 2 < at[1]) {
            return;
        }
        if (at[0] == O_TYPE && at[1] == 1) {
            ret->type = at[2];
        } else if (at[0] == O_REQUESTED && at[1] == 4) {
            ret->wanted = get_u32(at + 2);
        } else if (at[0] == O_SERVER && at[1] == 4) {
            ret->server = get_u32(at + 2);
        }
        at += 2 + at[1];
    }
}

static uint8_t *add_option(uint8_t *at, uint8_t option, const void *bytes, size_t n)
{
    at[0] = option;
    at[1] = (uint8_t)n;
    memcpy(at + 2, bytes, n);
    return at + 2 + n;
}

static uint8_t *add_number(uint8_t *at, uint8_t option, uint32_t value)
{
    uint8_t bytes[4];
    put_u32(bytes, value);
    return add_option(at, option, bytes, sizeof(bytes));
}

/* "shop.internal" as labels: \4shop\10internal\0. Names here have no label above 63 bytes. */
static uint8_t *add_search(uint8_t *at, const char *domain)
{
    size_t n = strlen(domain);
    uint8_t labels[256];
    size_t length_at = 0;
    if (n + 2 > sizeof(labels)) {
        return at;
    }
    for (size_t i = 0; i <= n; i++) {
        labels[i + 1] = (uint8_t)domain[i];
        if (domain[i] == '.' || domain[i] == '\0') {
            labels[length_at] = (uint8_t)(i - length_at);
            length_at = i + 1;
        }
    }
    return add_option(at, O_SEARCH, labels, n + 2);
}

static uint8_t *add_settings(uint8_t *at, const struct dhcp_lease *lease)
{
    at = add_number(at, O_MASK, lease->mask);
    at = lease->is_further ? at : add_number(at, O_ROUTER, lease->gateway);
    if (lease->has_no_names) {
        return at;
    }
    at = add_number(at, O_DNS, lease->nameserver);
    at = add_option(at, O_HOST_NAME, lease->host, strnlen(lease->host, 63));
    at = add_option(at, O_DOMAIN, lease->domain, strnlen(lease->domain, 80));
    return strlen(lease->domain) <= 80 ? add_search(at, lease->domain) : at;
}

size_t dhcp_answer(const uint8_t *request, size_t n, const struct dhcp_lease *lease, uint8_t *out,
    uint32_t *ret_to)
{
    enum { LEASE_S = 24 * 3600, BOOTP_MIN = 300 };
    struct request asked = {0};
    if (n < OPTIONS || request[OP] != BOOTREQUEST || request[HTYPE] != IS_ETHERNET ||
        request[HLEN] != MAC_SIZE || get_u32(request + COOKIE) != magic ||
        memcmp(request + CHADDR, lease->mac, MAC_SIZE) != 0) {
        return 0;
    }
    parse_options(request + OPTIONS, request + n, &asked);
    uint32_t client = get_u32(request + CIADDR);
    bool is_for_other = asked.server && asked.server != lease->gateway;
    bool is_known = asked.type == DISCOVER || asked.type == REQUEST || asked.type == INFORM;
    if (!is_known || is_for_other) {
        return 0;
    }
    uint32_t wanted = asked.wanted ? asked.wanted : client;
    uint8_t type = asked.type == DISCOVER                                        ? OFFER
                   : asked.type == REQUEST && wanted && wanted != lease->address ? NAK
                                                                                 : ACK;
    bool is_given = type != NAK && asked.type != INFORM;
    memset(out, 0, DHCP_REPLY_MAX);
    memcpy(out, request, OPTIONS);
    out[OP] = BOOTREPLY;
    memset(out + CIADDR, 0, CHADDR - CIADDR);
    memset(out + CHADDR + MAC_SIZE, 0, COOKIE - CHADDR - MAC_SIZE);
    put_u32(out + CIADDR, asked.type == DISCOVER || type == NAK ? 0 : client);
    put_u32(out + YIADDR, is_given ? lease->address : 0);
    uint8_t *at = add_option(out + OPTIONS, O_TYPE, &type, 1);
    at = add_number(at, O_SERVER, lease->gateway);
    at = is_given ? add_number(at, O_LEASE_TIME, LEASE_S) : at;
    at = type == NAK ? at : add_settings(at, lease);
    *at++ = O_END;
    bool is_broadcast = type == NAK || get_u16(request + FLAGS) & BROADCAST;
    *ret_to = client && type != NAK ? client : is_broadcast ? UINT32_MAX : lease->address;
    size_t length = (size_t)(at - out);
    return length < BOOTP_MIN ? BOOTP_MIN : length;
}
