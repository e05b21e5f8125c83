/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/switch/packet.h"

#include <stdio.h>
#include <string.h>

enum { IPV4_HEADER = 20, UDP_HEADER = 8, TCP_HEADER = 20, ARP_SIZE = 28 };

static bool parse_arp(const uint8_t *arp, size_t n, struct packet *ret)
{
    static const uint8_t of_ipv4[] = {0, 1, 0x08, 0, MAC_SIZE, 4}; /* hardware, protocol, sizes */
    if (n < ARP_SIZE || memcmp(arp, of_ipv4, sizeof(of_ipv4)) != 0) {
        return false;
    }
    ret->from = get_u32(arp + 14);
    ret->to = get_u32(arp + 24);
    return true;
}

static bool parse_ipv4(const uint8_t *ip, size_t n, struct packet *ret)
{
    enum { MORE_FRAGMENTS = 0x2000, OFFSET = 0x1fff };
    size_t header = n < IPV4_HEADER ? 0 : (size_t)(ip[0] & 0x0f) * 4;
    size_t total = n < IPV4_HEADER ? 0 : get_u16(ip + 2);
    if (n < IPV4_HEADER || ip[0] >> 4 != 4 || header < IPV4_HEADER || total < header || total > n) {
        return false; /* what is behind `total` is Ethernet's padding */
    }
    ret->from = get_u32(ip + 12);
    ret->to = get_u32(ip + 16);
    ret->protocol = ip[9];
    ret->is_fragment = get_u16(ip + 6) & (MORE_FRAGMENTS | OFFSET);
    const uint8_t *inner = ip + header;
    size_t n_inner = total - header;
    size_t needed = ret->protocol == IP_TCP ? TCP_HEADER : ret->protocol == IP_UDP ? UDP_HEADER : 0;
    if (ret->is_fragment || needed == 0) {
        return true;
    }
    if (n_inner < needed) {
        return false;
    }
    ret->from_port = get_u16(inner);
    ret->to_port = get_u16(inner + 2);
    if (ret->protocol == IP_TCP) {
        ret->tcp_flags = inner[13];
        return true;
    }
    size_t length = get_u16(inner + 4);
    if (length < UDP_HEADER || length > n_inner) {
        return false;
    }
    ret->payload = inner + UDP_HEADER;
    ret->n_payload = length - UDP_HEADER;
    return true;
}

/* ---- IPv6 ---- */

/* The protocol behind the extension headers, and where; NULL: it cannot be seen. */
static const uint8_t *find_inner6(const uint8_t *ip, size_t n, uint8_t *ret_protocol)
{
    enum { HEADER = 40, HOP_BY_HOP = 0, ROUTING = 43, FRAGMENT = 44, DESTINATION = 60, UNIT = 8 };
    const uint8_t *at = ip + HEADER, *end = ip + n;
    if (n < HEADER) {
        return NULL;
    }
    for (*ret_protocol = ip[6]; *ret_protocol == HOP_BY_HOP || *ret_protocol == ROUTING ||
                                *ret_protocol == FRAGMENT || *ret_protocol == DESTINATION;) {
        if (end - at < UNIT) {
            return NULL;
        }
        size_t length = *ret_protocol == FRAGMENT ? UNIT : ((size_t)at[1] + 1) * UNIT;
        *ret_protocol = at[0];
        if ((size_t)(end - at) < length) {
            return NULL;
        }
        at += length;
    }
    return at;
}

static bool is_of_router6(const uint8_t *ip, size_t n)
{
    enum { ICMP6 = 58, ADVERTISEMENT = 134, REDIRECT = 137, SERVER_PORT = 547 };
    uint8_t protocol;
    const uint8_t *inner = find_inner6(ip, n, &protocol);
    size_t left = inner ? n - (size_t)(inner - ip) : 0;
    return (left > 0 && protocol == ICMP6 && (inner[0] == ADVERTISEMENT || inner[0] == REDIRECT)) ||
           (left >= 2 && protocol == IP_UDP && get_u16(inner) == SERVER_PORT);
}

bool packet_is_of_router(const uint8_t *frame, size_t n)
{
    enum { SERVER_PORT = 67 };
    struct packet packet;
    if (!packet_parse(frame, n, &packet)) {
        return false;
    }
    return packet.ether_type == ETHERNET_IPV6
               ? is_of_router6(frame + ETHERNET_HEADER, n - ETHERNET_HEADER)
               : packet.payload && packet.from_port == SERVER_PORT;
}

/* Linux takes it for what it holds; a number of a VLAN is for those that are on it. */
static bool is_tagged_for_none(uint16_t ether_type, const uint8_t *inner, size_t n)
{
    bool is_tagged = ether_type == ETHERNET_VLAN || ether_type == ETHERNET_VLAN_S;
    return is_tagged && (n < 2 || (get_u16(inner) & 0x0fff) == 0);
}

bool packet_parse(const uint8_t *frame, size_t n, struct packet *ret)
{
    if (n < ETHERNET_HEADER) {
        return false;
    }
    *ret = (struct packet){
        .to_mac = frame, .from_mac = frame + MAC_SIZE, .ether_type = get_u16(frame + 2 * MAC_SIZE)};
    const uint8_t *inner = frame + ETHERNET_HEADER;
    size_t n_inner = n - ETHERNET_HEADER;
    if (is_tagged_for_none(ret->ether_type, inner, n_inner)) {
        return false;
    }
    return ret->ether_type == ETHERNET_ARP    ? parse_arp(inner, n_inner, ret)
           : ret->ether_type == ETHERNET_IPV4 ? parse_ipv4(inner, n_inner, ret)
                                              : true;
}

bool mac_parse(const char *text, uint8_t *ret_mac)
{
    int n = 0;
    uint8_t mac[MAC_SIZE];
    bool is_whole = sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
                        &mac[3], &mac[4], &mac[5], &n) == MAC_SIZE &&
                    text[n] == '\0';
    if (is_whole) {
        memcpy(ret_mac, mac, MAC_SIZE);
    }
    return is_whole;
}

/* RFC 1071; of an odd number of bytes the last is the upper half of its word. */
static uint32_t add_words(uint32_t sum, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        sum += get_u16(bytes + i);
    }
    return n % 2 ? sum + ((uint32_t)bytes[n - 1] << 8) : sum;
}

static uint16_t checksum_of(uint32_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

size_t packet_write_udp(
    uint8_t *out, size_t max, const struct datagram_way *way, const uint8_t *payload, size_t n)
{
    enum { TTL = 64 };
    size_t total = IPV4_HEADER + UDP_HEADER + n;
    if (total > UINT16_MAX || ETHERNET_HEADER + total > max) {
        return 0;
    }
    uint8_t *ip = out + ETHERNET_HEADER, *udp = ip + IPV4_HEADER;
    memset(out, 0, ETHERNET_HEADER + IPV4_HEADER + UDP_HEADER);
    memcpy(out, way->to_mac, MAC_SIZE);
    memcpy(out + MAC_SIZE, way->from_mac, MAC_SIZE);
    put_u16(out + 2 * MAC_SIZE, ETHERNET_IPV4);
    ip[0] = 0x45;
    put_u16(ip + 2, (uint16_t)total);
    ip[8] = TTL;
    ip[9] = IP_UDP;
    put_u32(ip + 12, way->from);
    put_u32(ip + 16, way->to);
    put_u16(ip + 10, checksum_of(add_words(0, ip, IPV4_HEADER)));
    put_u16(udp, way->from_port);
    put_u16(udp + 2, way->to_port);
    put_u16(udp + 4, (uint16_t)(UDP_HEADER + n));
    memcpy(udp + UDP_HEADER, payload, n);
    uint32_t pseudo = add_words(IP_UDP + UDP_HEADER + (uint32_t)n, ip + 12, 8);
    uint16_t checksum = checksum_of(add_words(pseudo, udp, UDP_HEADER + n));
    put_u16(udp + 6, checksum ? checksum : 0xffff);
    return ETHERNET_HEADER + total;
}
