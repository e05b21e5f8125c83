/* SPDX-License-Identifier: MPL-2.0 */
/* Ethernet frames as a project network's switch sees them (IEEE 802.3, RFC 791, 826, 768, 793).
 * Pure. Addresses and ports are in host order, MAC addresses point into the frame. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAC_SIZE = 6, ETHERNET_HEADER = 14, FRAME_MAX = 65535 + ETHERNET_HEADER };
enum {
    ETHERNET_IPV4 = 0x0800,
    ETHERNET_ARP = 0x0806,
    ETHERNET_IPV6 = 0x86dd,
    ETHERNET_VLAN = 0x8100,   /* IEEE 802.1Q … */
    ETHERNET_VLAN_S = 0x88a8, /* … and 802.1ad */
};
enum { IP_TCP = 6, IP_UDP = 17 };
enum { TCP_SYN = 0x02, TCP_ACK = 0x10 };

struct packet {
    const uint8_t *to_mac, *from_mac;
    uint16_t ether_type;
    /* ARP: who claims to send it. IPv4: who sends it to whom. Else 0. */
    uint32_t from, to;
    uint8_t protocol;            /* of IPv4 */
    bool is_fragment;            /* it is a part of an IPv4 packet: what follows is 0 */
    uint16_t from_port, to_port; /* of TCP and UDP */
    uint8_t tcp_flags;
    const uint8_t *payload; /* of UDP; NULL: none */
    size_t n_payload;
};

/* False for a frame without an Ethernet header, and for ARP and IPv4 that is cut off, contradicts
 * itself, is ARP of other than IPv4 on Ethernet, or is tagged for no VLAN (which its receiver reads
 * as if it had no tag, so that nothing in it is looked at here): no one is to get it. */
bool packet_parse(const uint8_t *frame, size_t n, struct packet *ret);

/* Packets that only a router or a DHCP server sends: router advertisements and redirects of IPv6,
 * also after extension headers, and DHCP replies. */
bool packet_is_of_router(const uint8_t *frame, size_t n);

static inline bool mac_is_group(const uint8_t *mac) /* broadcast and multicast */
{
    return mac[0] & 1;
}

/* "52:54:00:12:34:56"; false for other text. */
bool mac_parse(const char *text, uint8_t *ret_mac);

/* Where a datagram goes. */
struct datagram_way {
    const uint8_t *from_mac, *to_mac;
    uint32_t from, to;
    uint16_t from_port, to_port;
};

/* Writes a frame with this datagram of UDP. Its length; 0: it does not fit into `max`. */
size_t packet_write_udp(
    uint8_t *out, size_t max, const struct datagram_way *way, const uint8_t *payload, size_t n);

/* Big-endian numbers at any address. */
static inline uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put_u32(uint8_t *at, uint32_t value)
{
    put_u16(at, (uint16_t)(value >> 16));
    put_u16(at + 2, (uint16_t)value);
}
