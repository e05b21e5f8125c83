/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/switch/fabric.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "specs/base/buf.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"

enum { NETWORK = 0x0a4d0100, GATEWAY = NETWORK + 2, NAMESERVER = NETWORK + 3 };
enum { WEB = NETWORK + 15, DB = NETWORK + 16, OUTSIDE = 0x5db8d822, CACHE = 0x0a4d0210 };

/* What came out, in words: "db" for a port, "world". */
struct bench {
    struct fabric *fabric;
    struct fabric_port *web, *db, *lone;
    struct buf out;
    uint8_t frame[2000]; /* the last */
    size_t n;
};

static void note(struct bench *bench, const char *name, const uint8_t *frame, size_t n)
{
    buf_printf(&bench->out, "%s%s", bench->out.len ? " " : "", name);
    memcpy(bench->frame, frame, n);
    bench->n = n;
}

static void to_port(void *context, struct fabric_port *port, const uint8_t *frame, size_t n)
{
    note(context, port->config->name, frame, n);
}

static void to_world(void *context, const uint8_t *frame, size_t n)
{
    note(context, "world", frame, n);
}

/* "cache" is on "shop-1.back", and nowhere else. */
static bool find_elsewhere(
    void *context, const char *network, const char *name, uint32_t *ret_address)
{
    (void)context;
    bool is_there = strcmp(network, "shop-1.back") == 0 && strcmp(name, "cache") == 0;
    *ret_address = is_there ? CACHE : *ret_address;
    return is_there;
}

static struct switch_port *config_of(const char *name, const char *mac, const char *address)
{
    struct switch_port *config = fields_new(&switch_port_fields);
    config->name = mem_strdup(name);
    config->project = mem_strdup("shop");
    config->mac = mem_strdup(mac);
    config->address = mem_strdup(address);
    return config;
}

static int setup(void **state)
{
    struct bench *bench = mem_new(struct bench);
    struct fabric_output output = {to_port, to_world, find_elsewhere, bench};
    bench->fabric = fabric_new(&output);
    bench->web = fabric_put(bench->fabric, config_of("web", "52:54:00:00:00:01", "10.77.1.15"));
    bench->db = fabric_put(bench->fabric, config_of("db", "52:54:00:00:00:02", "10.77.1.16"));
    struct switch_port *lone = config_of("lone", "52:54:00:00:00:03", "10.77.1.17");
    lone->is_isolated = true;
    bench->lone = fabric_put(bench->fabric, lone);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;
    fabric_free(bench->fabric);
    buf_clear(&bench->out);
    free(bench);
    return 0;
}

static const uint8_t everyone[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t gateway_mac[] = {0x52, 0x55, 10, 77, 1, 2};

/* Where a frame that `from` sends comes out. */
static const char *sent(
    struct bench *bench, struct fabric_port *from, const uint8_t *frame, size_t n)
{
    buf_reset(&bench->out);
    fabric_from_port(bench->fabric, from, frame, n);
    return buf_str(&bench->out);
}

static const char *datagram(struct bench *bench, struct fabric_port *from, const uint8_t *to_mac,
    uint32_t from_address, uint32_t to, uint16_t port)
{
    uint8_t frame[200];
    struct datagram_way way = {from->mac, to_mac, from_address, to, 4000, port};
    size_t n = packet_write_udp(frame, sizeof(frame), &way, (const uint8_t *)"x", 1);
    return sent(bench, from, frame, n);
}

static const char *segment(
    struct bench *bench, struct fabric_port *from, uint32_t to, uint16_t port, uint8_t flags)
{
    uint8_t frame[200];
    struct datagram_way way = {from->mac, gateway_mac, from->address, to, 4000, port};
    size_t n = packet_write_udp(frame, sizeof(frame), &way, (const uint8_t[20]){0}, 20);
    frame[ETHERNET_HEADER + 9] = IP_TCP;
    frame[ETHERNET_HEADER + 20 + 13] = flags;
    return sent(bench, from, frame, n);
}

static const char *arp(
    struct bench *bench, struct fabric_port *from, const uint8_t *from_mac, uint32_t claims)
{
    uint8_t frame[ETHERNET_HEADER + 28] = {0};
    memcpy(frame, everyone, MAC_SIZE);
    memcpy(frame + MAC_SIZE, from_mac, MAC_SIZE);
    put_u16(frame + 12, ETHERNET_ARP);
    memcpy(frame + ETHERNET_HEADER, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, 1}, 8);
    put_u32(frame + ETHERNET_HEADER + 14, claims);
    return sent(bench, from, frame, sizeof(frame));
}

static void test_frames_go_where_they_are_addressed(void **state)
{
    struct bench *bench = *state;
    assert_string_equal(datagram(bench, bench->web, bench->db->mac, WEB, DB, 80), "db");
    assert_string_equal(datagram(bench, bench->web, gateway_mac, WEB, OUTSIDE, 80), "world");
    assert_string_equal(arp(bench, bench->web, bench->web->mac, WEB), "db lone world");
    assert_string_equal(datagram(bench, bench->web, everyone, WEB, 0xffffffff, 80), "db lone");
    const uint8_t nobody[] = {2, 0, 0, 0, 0, 7};
    assert_string_equal(datagram(bench, bench->web, nobody, WEB, DB, 80), "");
    assert_string_equal(datagram(bench, bench->web, bench->web->mac, WEB, WEB, 80), "");
}

static void test_no_guest_claims_anothers_addresses(void **state)
{
    struct bench *bench = *state;
    assert_string_equal(arp(bench, bench->web, bench->web->mac, DB), "");
    assert_string_equal(arp(bench, bench->web, bench->db->mac, WEB), "");
    assert_string_equal(arp(bench, bench->web, gateway_mac, WEB), "");
    assert_string_equal(arp(bench, bench->web, bench->web->mac, GATEWAY), "");
    assert_string_equal(arp(bench, bench->web, bench->web->mac, NAMESERVER), "");
    assert_string_equal(datagram(bench, bench->web, bench->db->mac, DB, DB, 80), "");
    assert_string_equal(datagram(bench, bench->web, gateway_mac, NAMESERVER, OUTSIDE, 80), "");
    assert_string_equal(arp(bench, bench->web, everyone, WEB), "");
}

/* A frame to everyone, of IPv6 with these headers. */
static const char *ipv6(struct bench *bench, uint8_t next, const uint8_t *inner, size_t n)
{
    uint8_t frame[ETHERNET_HEADER + 40 + 64] = {0};
    memcpy(frame, (uint8_t[]){0x33, 0x33, 0, 0, 0, 1}, MAC_SIZE);
    memcpy(frame + MAC_SIZE, bench->web->mac, MAC_SIZE);
    put_u16(frame + 12, ETHERNET_IPV6);
    frame[ETHERNET_HEADER] = 0x60;
    frame[ETHERNET_HEADER + 6] = next;
    memcpy(frame + ETHERNET_HEADER + 40, inner, n);
    return sent(bench, bench->web, frame, ETHERNET_HEADER + 40 + n);
}
#define IPV6(next, ...)                                                                            \
    ipv6(bench, next, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void test_no_guest_is_the_others_router(void **state)
{
    enum { HOP = 0, ROUTING = 43, FRAGMENT = 44, ICMP6 = 58, DESTINATION = 60 };
    struct bench *bench = *state;
    assert_string_equal(IPV6(ICMP6, 135, 0, 0, 0), "db lone"); /* a neighbour is asked for */
    assert_string_equal(IPV6(ICMP6, 133, 0, 0, 0), "db lone"); /* and a router */
    assert_string_equal(IPV6(ICMP6, 134, 0, 0, 0), "");
    assert_string_equal(IPV6(ICMP6, 137, 0, 0, 0), "");
    assert_string_equal(IPV6(HOP, ICMP6, 0, 0, 0, 0, 0, 0, 0, 134, 0, 0, 0), "");
    assert_string_equal(
        IPV6(DESTINATION, ROUTING, 0, 0, 0, 0, 0, 0, 0, ICMP6, 0, 0, 0, 0, 0, 0, 0, 134, 0, 0, 0),
        "");
    assert_string_equal(IPV6(FRAGMENT, ICMP6, 99, 0, 1, 0, 0, 0, 0, 134, 0, 0, 0), "");
    assert_string_equal(IPV6(HOP, ICMP6, 9, 0, 0), "db lone"); /* cut off: nobody reads it */
    assert_string_equal(IPV6(HOP, ICMP6), "db lone");
    assert_string_equal(IPV6(IP_UDP, 2, 35, 2, 34, 0, 8, 0, 0), ""); /* a server of DHCPv6 */
    assert_string_equal(IPV6(IP_UDP, 2, 34, 2, 35, 0, 8, 0, 0), "db lone");
}

static void test_no_guest_answers_for_dhcp(void **state)
{
    struct bench *bench = *state;
    uint8_t frame[200];
    struct datagram_way way = {bench->web->mac, bench->db->mac, WEB, DB, 67, 68};
    size_t n = packet_write_udp(frame, sizeof(frame), &way, (const uint8_t *)"x", 1);
    assert_string_equal(sent(bench, bench->web, frame, n), "");
}

/* Linux looks into a frame that is tagged for VLAN 0 as if it had no tag. */
static void test_a_tag_hides_nothing(void **state)
{
    struct bench *bench = *state;
    uint8_t frame[ETHERNET_HEADER + 4 + 28] = {0};
    memcpy(frame, everyone, MAC_SIZE);
    memcpy(frame + MAC_SIZE, bench->web->mac, MAC_SIZE);
    put_u16(frame + 12, ETHERNET_VLAN);
    put_u16(frame + 14, 0xe000);
    put_u16(frame + 16, ETHERNET_ARP);
    memcpy(frame + 18, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, 2}, 8);
    put_u32(frame + 18 + 14, GATEWAY);
    assert_string_equal(sent(bench, bench->web, frame, sizeof(frame)), "");
    put_u16(frame + 12, ETHERNET_VLAN_S);
    assert_string_equal(sent(bench, bench->web, frame, sizeof(frame)), "");
    assert_string_equal(sent(bench, bench->web, frame, ETHERNET_HEADER + 1), "");
    put_u16(frame + 14, 0xe007);
    assert_string_equal(sent(bench, bench->web, frame, sizeof(frame)), "db lone");
}

static void test_a_guests_further_mac_addresses_are_learned_up_to_a_bound(void **state)
{
    struct bench *bench = *state;
    uint8_t mac[] = {2, 0, 0, 0, 0, 0};
    for (int i = 0; i < 16; i++) {
        mac[5] = (uint8_t)i;
        assert_string_equal(arp(bench, bench->web, mac, 0), "db lone world");
    }
    assert_string_equal(datagram(bench, bench->db, mac, DB, NETWORK + 99, 80), "web");
    assert_string_equal(arp(bench, bench->db, mac, 0), ""); /* it is web's */
    mac[5] = 16;
    assert_string_equal(arp(bench, bench->web, mac, 0), "");
    fabric_remove(bench->fabric, bench->web);
    assert_string_equal(arp(bench, bench->db, mac, 0), "lone world");
}

static const char *resolve(struct bench *bench, struct fabric_port *from, const char *labels)
{
    uint8_t frame[300], query[200] = {0, 1, 1, 0, 0, 1};
    size_t n = strlen(labels) + 1;
    memcpy(query + 12, labels, n);
    memcpy(query + 12 + n, (uint8_t[]){0, 1, 0, 1}, 4);
    struct datagram_way way = {from->mac, gateway_mac, from->address, NAMESERVER, 4000, 53};
    size_t length = packet_write_udp(frame, sizeof(frame), &way, query, 12 + n + 4);
    return sent(bench, from, frame, length);
}

static void test_names_of_the_network_are_answered_here(void **state)
{
    struct bench *bench = *state;
    struct packet packet;
    assert_string_equal(resolve(bench, bench->web, "\2db"), "web");
    assert_int_equal(get_u32(bench->frame + bench->n - 4), DB);
    assert_true(packet_parse(bench->frame, bench->n, &packet));
    assert_int_equal(packet.from, NAMESERVER);
    assert_int_equal(packet.to_port, 4000);
    assert_string_equal(resolve(bench, bench->db, "\3WEB\4shop\10internal"), "db");
    assert_int_equal(get_u32(bench->frame + bench->n - 4), WEB);
    assert_string_equal(resolve(bench, bench->web, "\4gone\4shop\10internal"), "web");
    assert_int_equal(bench->frame[ETHERNET_HEADER + 28 + 3] & 0x0f, 3);
    assert_string_equal(resolve(bench, bench->web, "\7example\3org"), "world");
    assert_string_equal(resolve(bench, bench->lone, "\7example\3org"), "lone");
    assert_int_equal(bench->frame[ETHERNET_HEADER + 28 + 3] & 0x0f, 3);
}

/* The names of the VM's other networks, and of the world, which it reaches by another one. */
static void test_a_further_network_gives_names_and_no_way_out(void **state)
{
    struct bench *bench = *state;
    struct switch_port *config = config_of("lone", "52:54:00:00:00:03", "10.77.1.17");
    config->is_isolated = config->is_further = true;
    config->n_others = 1;
    config->others = mem_calloc(1, sizeof(char *));
    config->others[0] = mem_strdup("shop-1.back");
    struct fabric_port *lone = fabric_put(bench->fabric, config);
    assert_string_equal(resolve(bench, lone, "\5cache"), "lone");
    assert_int_equal(get_u32(bench->frame + bench->n - 4), CACHE);
    assert_string_equal(resolve(bench, lone, "\5cache\4shop\10internal"), "lone");
    assert_int_equal(get_u32(bench->frame + bench->n - 4), CACHE);
    assert_string_equal(resolve(bench, lone, "\2db"), "lone");
    assert_int_equal(get_u32(bench->frame + bench->n - 4), DB);
    assert_string_equal(resolve(bench, lone, "\4gone\4shop\10internal"), "lone");
    assert_int_equal(bench->frame[ETHERNET_HEADER + 28 + 3] & 0x0f, 3);
    assert_string_equal(resolve(bench, lone, "\7example\3org"), "world");
    assert_string_equal(segment(bench, lone, OUTSIDE, 80, TCP_SYN), "");
    /* who is on this network only does not hear of the other one */
    assert_string_equal(resolve(bench, bench->web, "\5cache\4shop\10internal"), "web");
    assert_int_equal(bench->frame[ETHERNET_HEADER + 28 + 3] & 0x0f, 3);
    config = config_of("lone", "52:54:00:00:00:03", "10.77.1.17");
    config->is_isolated = config->is_further = config->has_no_names = true;
    lone = fabric_put(bench->fabric, config);
    assert_string_equal(resolve(bench, lone, "\7example\3org"), "lone");
}

static void test_an_isolated_guest_has_no_way_out(void **state)
{
    struct bench *bench = *state;
    assert_string_equal(segment(bench, bench->lone, OUTSIDE, 80, TCP_SYN), "");
    assert_string_equal(datagram(bench, bench->lone, gateway_mac, NETWORK + 17, OUTSIDE, 80), "");
    assert_string_equal(segment(bench, bench->lone, GATEWAY, 80, TCP_SYN), "");
    /* the answer to a connection through a forward, and other guests */
    assert_string_equal(segment(bench, bench->lone, GATEWAY, 80, TCP_SYN | TCP_ACK), "world");
    assert_string_equal(segment(bench, bench->lone, GATEWAY, 80, TCP_ACK), "world");
    assert_string_equal(
        datagram(bench, bench->lone, bench->web->mac, NETWORK + 17, WEB, 80), "web");
    assert_string_equal(arp(bench, bench->lone, bench->lone->mac, NETWORK + 17), "web db world");
}

/* An answer from the world's name server: mirror.example.org is OUTSIDE. */
static void answer_name(
    struct bench *bench, struct fabric_port *to, const char *labels, uint32_t from)
{
    uint8_t frame[300], answer[200] = {0, 1, 0x81, 0x80, 0, 1, 0, 1};
    size_t n = 12 + strlen(labels) + 1;
    memcpy(answer + 12, labels, n - 12);
    memcpy(answer + n, (uint8_t[]){0, 1, 0, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4}, 16);
    put_u32(answer + n + 16, OUTSIDE);
    struct datagram_way way = {gateway_mac, to->mac, from, to->address, 53, 4000};
    size_t length = packet_write_udp(frame, sizeof(frame), &way, answer, n + 20);
    buf_reset(&bench->out);
    fabric_from_world(bench->fabric, frame, length);
    assert_string_equal(buf_str(&bench->out), to->config->name);
}

static void test_egress_is_what_is_allowed(void **state)
{
    struct bench *bench = *state;
    struct switch_port *config = config_of("web", "52:54:00:00:00:01", "10.77.1.15");
    config->n_egress = 2;
    config->egress = mem_calloc(2, sizeof(char *));
    config->egress[0] = mem_strdup("10.0.0.0/8");
    config->egress[1] = mem_strdup("mirror.example.org");
    struct fabric_port *web = fabric_put(bench->fabric, config);
    assert_ptr_equal(web, bench->web);
    assert_string_equal(segment(bench, web, 0x0a010203, 443, TCP_SYN), "world");
    assert_string_equal(segment(bench, web, 0x0b010203, 443, TCP_SYN), "");
    assert_string_equal(segment(bench, web, OUTSIDE, 443, TCP_SYN), "");
    assert_string_equal(resolve(bench, web, "\6mirror\7example\3org"), "world");
    answer_name(bench, web, "\5other\7example\3org", NAMESERVER);
    answer_name(bench, web, "\6mirror\7example\3org", 0x08080808); /* not the network's server */
    assert_string_equal(segment(bench, web, OUTSIDE, 443, TCP_SYN), "");
    answer_name(bench, web, "\6mirror\7example\3org", NAMESERVER);
    assert_string_equal(segment(bench, web, OUTSIDE, 443, TCP_SYN), "world");
    assert_string_equal(segment(bench, web, OUTSIDE + 1, 443, TCP_SYN), "");
}

static void test_there_are_so_many_ports_and_no_more(void **state)
{
    struct bench *bench = *state;
    char name[16];
    while (fabric_count(bench->fabric) < SWITCH_PORTS_MAX) {
        (void)snprintf(name, sizeof(name), "n%zu", fabric_count(bench->fabric));
        assert_non_null(
            fabric_put(bench->fabric, config_of(name, "52:54:00:00:01:01", "10.77.1.99")));
    }
    assert_null(fabric_put(bench->fabric, config_of("more", "52:54:00:00:01:01", "10.77.1.99")));
    assert_non_null(fabric_find(bench->fabric, "db"));
    assert_null(fabric_find(bench->fabric, "more"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_frames_go_where_they_are_addressed),
        TEST(test_no_guest_claims_anothers_addresses),
        TEST(test_no_guest_is_the_others_router),
        TEST(test_no_guest_answers_for_dhcp),
        TEST(test_a_tag_hides_nothing),
        TEST(test_a_guests_further_mac_addresses_are_learned_up_to_a_bound),
        TEST(test_names_of_the_network_are_answered_here),
        TEST(test_a_further_network_gives_names_and_no_way_out),
        TEST(test_an_isolated_guest_has_no_way_out),
        TEST(test_egress_is_what_is_allowed),
        TEST(test_there_are_so_many_ports_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
