/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/switch/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "reconcilers/network/switch/dhcp.h"
#include "reconcilers/network/switch/dns.h"

enum { GUEST = 0x0a4d010f, GATEWAY = 0x0a4d0102, NAMESERVER = 0x0a4d0103 };
static const uint8_t guest_mac[] = {0x52, 0x54, 0, 1, 2, 3}, other_mac[] = {2, 0, 0, 0, 0, 9};

static size_t datagram(uint8_t *frame, const void *payload, size_t n)
{
    struct datagram_way way = {guest_mac, other_mac, GUEST, NAMESERVER, 4000, 53};
    size_t length = packet_write_udp(frame, 2000, &way, payload, n);
    assert_int_equal(length, ETHERNET_HEADER + 28 + n);
    return length;
}

/* ---- frames ---- */

static void test_a_datagram_is_read_as_it_was_written(void **state)
{
    uint8_t frame[2000];
    struct packet packet;
    (void)state;
    size_t n = datagram(frame, "hello", 5);
    assert_true(packet_parse(frame, n, &packet));
    assert_memory_equal(packet.from_mac, guest_mac, MAC_SIZE);
    assert_memory_equal(packet.to_mac, other_mac, MAC_SIZE);
    assert_int_equal(packet.from, GUEST);
    assert_int_equal(packet.to, NAMESERVER);
    assert_int_equal(packet.from_port, 4000);
    assert_int_equal(packet.to_port, 53);
    assert_int_equal(packet.n_payload, 5);
    assert_memory_equal(packet.payload, "hello", 5);
    assert_false(packet.is_fragment);
}

static void test_checksums_add_up(void **state)
{
    uint8_t frame[2000];
    (void)state;
    for (size_t payload = 5; payload <= 6;
         payload++) { /* an odd number of bytes, and an even one */
        size_t n = datagram(frame, "abcdef", payload);
        uint32_t sum = 0, udp = 17 + 8 + (uint32_t)payload;
        for (size_t i = 0; i < 20; i += 2) {
            sum += get_u16(frame + ETHERNET_HEADER + i);
        }
        frame[n] = 0;
        for (size_t i = ETHERNET_HEADER + 12; i < n; i += 2) {
            udp += get_u16(frame + i);
        }
        assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
        assert_int_equal((udp & 0xffff) + (udp >> 16), 0xffff);
    }
}

static void test_what_is_cut_off_is_refused(void **state)
{
    uint8_t frame[2000];
    struct packet packet;
    (void)state;
    size_t whole = datagram(frame, "hello", 5);
    for (size_t n = 0; n < whole; n++) {
        assert_false(packet_parse(frame, n, &packet));
    }
    memset(frame + whole, 0xee, 20); /* Ethernet's padding is no part of it */
    assert_true(packet_parse(frame, whole + 20, &packet));
    assert_int_equal(packet.n_payload, 5);
}

static void test_contradictions_are_refused(void **state)
{
    static const struct {
        size_t at;
        uint8_t value;
    } faults[] = {
        {14, 0x55},     /* version 5 */
        {14, 0x44},     /* a header of 16 bytes */
        {14, 0x4f},     /* … of 60 */
        {17, 19},       /* shorter than its header */
        {16, 0xff},     /* longer than the frame */
        {14 + 25, 7},   /* a datagram shorter than its header */
        {14 + 25, 200}, /* … longer than the packet */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        uint8_t frame[2000];
        struct packet packet;
        size_t n = datagram(frame, "hello", 5);
        frame[faults[i].at] = faults[i].value;
        assert_false(packet_parse(frame, n, &packet));
    }
}

static void test_of_a_fragment_no_ports_are_read(void **state)
{
    static const uint16_t fields[] = {0x2000, 0x0001, 0x2010};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        uint8_t frame[2000];
        struct packet packet;
        size_t n = datagram(frame, "hello", 5);
        put_u16(frame + ETHERNET_HEADER + 6, fields[i]);
        assert_true(packet_parse(frame, n, &packet));
        assert_true(packet.is_fragment);
        assert_null(packet.payload);
        assert_int_equal(packet.to_port, 0);
    }
}

static void test_arp_is_of_ipv4_on_ethernet(void **state)
{
    uint8_t frame[ETHERNET_HEADER + 28] = {0};
    struct packet packet;
    (void)state;
    put_u16(frame + 12, ETHERNET_ARP);
    memcpy(frame + ETHERNET_HEADER, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, 1}, 8);
    put_u32(frame + ETHERNET_HEADER + 14, GUEST);
    put_u32(frame + ETHERNET_HEADER + 24, GATEWAY);
    assert_true(packet_parse(frame, sizeof(frame), &packet));
    assert_int_equal(packet.from, GUEST);
    assert_int_equal(packet.to, GATEWAY);
    assert_false(packet_parse(frame, sizeof(frame) - 1, &packet));
    frame[ETHERNET_HEADER + 1] = 6; /* other hardware */
    assert_false(packet_parse(frame, sizeof(frame), &packet));
}

static void test_mac_addresses(void **state)
{
    uint8_t mac[MAC_SIZE];
    (void)state;
    assert_true(mac_parse("52:54:00:01:02:03", mac));
    assert_memory_equal(mac, guest_mac, MAC_SIZE);
    assert_false(mac_parse("52:54:00:01:02", mac));
    assert_false(mac_parse("52:54:00:01:02:03:04", mac));
    assert_false(mac_parse("", mac));
}

/* ---- DHCP ---- */

static const struct dhcp_lease lease = {.mac = guest_mac,
    .address = GUEST,
    .mask = 0xffffff00,
    .gateway = GATEWAY,
    .nameserver = NAMESERVER,
    .host = "web",
    .domain = "shop.internal"};

/* A message of a client of this type that wants an address (0: none). */
static size_t ask(uint8_t *message, uint8_t type, uint32_t wanted)
{
    memset(message, 0, 300);
    message[0] = 1;
    message[1] = 1;
    message[2] = MAC_SIZE;
    put_u32(message + 4, 0x12345678);
    memcpy(message + 28, guest_mac, MAC_SIZE);
    put_u32(message + 236, 0x63825363);
    memcpy(message + 240, (uint8_t[]){53, 1, type, 0, 50, 4}, 6);
    put_u32(message + 246, wanted);
    message[wanted ? 250 : 244] = 255;
    return 300;
}

/* The value of an option; NULL: the message has none. */
static const uint8_t *option_of(const uint8_t *message, uint8_t option)
{
    for (const uint8_t *at = message + 240; *at != 255; at += 2 + at[1]) {
        if (*at == option) {
            return at + 2;
        }
    }
    return NULL;
}

static void test_a_client_is_offered_its_address_then_given_it(void **state)
{
    uint8_t message[300], answer[DHCP_REPLY_MAX];
    uint32_t to = 0;
    (void)state;
    size_t n = ask(message, 1, 0);
    assert_true(dhcp_answer(message, n, &lease, answer, &to) >= 300);
    assert_int_equal(*option_of(answer, 53), 2);
    assert_int_equal(get_u32(answer + 16), GUEST);
    assert_int_equal(get_u32(answer + 4), 0x12345678);
    assert_int_equal(to, GUEST);
    n = ask(message, 3, GUEST);
    assert_true(dhcp_answer(message, n, &lease, answer, &to) >= 300);
    assert_int_equal(*option_of(answer, 53), 5);
    assert_int_equal(get_u32(option_of(answer, 3)), GATEWAY);
    assert_int_equal(get_u32(option_of(answer, 6)), NAMESERVER);
    assert_int_equal(get_u32(option_of(answer, 1)), 0xffffff00);
    assert_memory_equal(option_of(answer, 12), "web", 3);
    assert_memory_equal(option_of(answer, 15), "shop.internal", 13);
    assert_memory_equal(option_of(answer, 119), "\4shop\10internal", 15);
}

static void test_a_further_network_offers_no_way_out(void **state)
{
    uint8_t message[300], answer[DHCP_REPLY_MAX];
    uint32_t to = 0;
    struct dhcp_lease further = lease;
    (void)state;
    size_t n = ask(message, 3, GUEST);
    further.is_further = true;
    assert_true(dhcp_answer(message, n, &further, answer, &to) >= 300);
    assert_null(option_of(answer, 3));
    assert_int_equal(get_u32(option_of(answer, 6)), NAMESERVER);
    further.has_no_names = true;
    assert_true(dhcp_answer(message, n, &further, answer, &to) >= 300);
    assert_int_equal(get_u32(answer + 16), GUEST);
    assert_int_equal(get_u32(option_of(answer, 1)), 0xffffff00);
    assert_null(option_of(answer, 3));
    assert_null(option_of(answer, 6));
    assert_null(option_of(answer, 15));
}

static void test_another_address_is_refused(void **state)
{
    uint8_t message[300], answer[DHCP_REPLY_MAX];
    uint32_t to = 0;
    (void)state;
    size_t n = ask(message, 3, GUEST + 1);
    assert_true(dhcp_answer(message, n, &lease, answer, &to) > 0);
    assert_int_equal(*option_of(answer, 53), 6);
    assert_int_equal(get_u32(answer + 16), 0);
    assert_int_equal(to, UINT32_MAX);
}

static void test_what_is_not_for_this_server_is_not_answered(void **state)
{
    uint8_t message[300], answer[DHCP_REPLY_MAX];
    uint32_t to = 0;
    (void)state;
    size_t n = ask(message, 3, GUEST);
    memcpy(message + 250, (uint8_t[]){54, 4, 10, 9, 9, 9, 255}, 7); /* another server */
    assert_int_equal(dhcp_answer(message, n, &lease, answer, &to), 0);
    n = ask(message, 7, 0); /* a release */
    assert_int_equal(dhcp_answer(message, n, &lease, answer, &to), 0);
    n = ask(message, 1, 0);
    message[28]++; /* of another MAC address */
    assert_int_equal(dhcp_answer(message, n, &lease, answer, &to), 0);
    n = ask(message, 1, 0);
    assert_int_equal(dhcp_answer(message, 239, &lease, answer, &to), 0);
    message[241] = 200; /* an option that runs past the end */
    assert_int_equal(dhcp_answer(message, 250, &lease, answer, &to), 0);
}

/* ---- DNS ---- */

static enum dns_finding look_up(void *context, const char *name, uint32_t *ret_address)
{
    (void)context;
    *ret_address = GUEST;
    return strcmp(name, "web") == 0    ? DNS_FOUND
           : strcmp(name, "gone") == 0 ? DNS_MISSING
                                       : DNS_FOREIGN;
}

static size_t query_of(uint8_t *query, const char *labels, uint8_t type)
{
    size_t n = strlen(labels) + 1;
    memcpy(query, (uint8_t[]){0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 12);
    memcpy(query + 12, labels, n);
    memcpy(query + 12 + n, (uint8_t[]){0, type, 0, 1}, 4);
    return 12 + n + 4;
}

static void test_own_names_are_answered(void **state)
{
    uint8_t query[300], answer[DNS_ANSWER_MAX];
    (void)state;
    size_t n = query_of(query, "\3WeB", 1), length = dns_answer(query, n, look_up, NULL, answer);
    assert_int_equal(length, n + 16);
    assert_int_equal(get_u16(answer), 0xabcd);
    assert_int_equal(get_u16(answer + 2) & 0x800f, 0x8000);
    assert_int_equal(get_u16(answer + 6), 1);
    assert_int_equal(get_u32(answer + length - 4), GUEST);
    n = query_of(
        query, "\3web", 28); /* it has no IPv6 address, and the world is not asked for one */
    assert_int_equal(dns_answer(query, n, look_up, NULL, answer), n);
    assert_int_equal(get_u16(answer + 2) & 0x800f, 0x8000);
    assert_int_equal(get_u16(answer + 6), 0);
    n = query_of(query, "\4gone", 1);
    assert_int_equal(dns_answer(query, n, look_up, NULL, answer), n);
    assert_int_equal(get_u16(answer + 2) & 0x000f, 3);
}

static void test_other_questions_are_left_to_others(void **state)
{
    uint8_t query[300], answer[DNS_ANSWER_MAX];
    (void)state;
    size_t n = query_of(query, "\7example\3org", 1);
    assert_int_equal(dns_answer(query, n, look_up, NULL, answer), 0);
    n = query_of(query, "\3web", 1);
    for (size_t cut = 0; cut < n; cut++) {
        assert_int_equal(dns_answer(query, cut, look_up, NULL, answer), 0);
    }
    query[2] = 0x80; /* an answer */
    assert_int_equal(dns_answer(query, n, look_up, NULL, answer), 0);
    n = query_of(query, "\300\14", 1); /* compressed */
    assert_int_equal(dns_answer(query, n, look_up, NULL, answer), 0);
}

static void note_address(void *context, const char *name, uint32_t address)
{
    uint32_t *sum = context;
    assert_string_equal(name, "mirror.example.org");
    *sum += address;
}

static void test_addresses_are_read_from_an_answer(void **state)
{
    static const uint8_t records[] = {0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12, /* CNAME */
        0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 0, 0, 0, 7,                             /* A */
        1, 'x', 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 0, 0, 0, 8};
    uint8_t answer[300];
    uint32_t sum = 0;
    (void)state;
    size_t n = query_of(answer, "\6mirror\7example\3org", 1);
    memcpy(answer + n, records, sizeof(records));
    put_u16(answer + 2, 0x8180);
    put_u16(answer + 6, 3);
    dns_read_answer(answer, n + sizeof(records), note_address, &sum);
    assert_int_equal(sum, 15);
    sum = 0;
    dns_read_answer(answer, n + sizeof(records) - 1, note_address, &sum); /* the last is cut off */
    assert_int_equal(sum, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_datagram_is_read_as_it_was_written),
        cmocka_unit_test(test_checksums_add_up),
        cmocka_unit_test(test_what_is_cut_off_is_refused),
        cmocka_unit_test(test_contradictions_are_refused),
        cmocka_unit_test(test_of_a_fragment_no_ports_are_read),
        cmocka_unit_test(test_arp_is_of_ipv4_on_ethernet),
        cmocka_unit_test(test_mac_addresses),
        cmocka_unit_test(test_a_client_is_offered_its_address_then_given_it),
        cmocka_unit_test(test_a_further_network_offers_no_way_out),
        cmocka_unit_test(test_another_address_is_refused),
        cmocka_unit_test(test_what_is_not_for_this_server_is_not_answered),
        cmocka_unit_test(test_own_names_are_answered),
        cmocka_unit_test(test_other_questions_are_left_to_others),
        cmocka_unit_test(test_addresses_are_read_from_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
