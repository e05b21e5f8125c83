/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/switch/fabric.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "reconcilers/network/switch/dhcp.h"
#include "reconcilers/network/switch/dns.h"
#include "specs/base/cleanup.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* MAC addresses that a guest uses besides its own, of its nested guests for instance. */
enum { LEARNED_MAX = 1024, LEARNED_OF_PORT_MAX = 16 };

struct learned {
    uint8_t mac[MAC_SIZE];
    struct fabric_port *port; /* NULL: free */
};

struct fabric {
    struct fabric_output output;
    struct fabric_port *ports[SWITCH_PORTS_MAX];
    size_t n_ports;
    struct learned learned[LEARNED_MAX];
    size_t n_learned; /* so many are in use, or were */
};

/* Addresses that a port's allowed names were answered with. The oldest go first. */
enum { RESOLVED_MAX = 256 };

struct fabric_egress {
    struct range {
        uint32_t network, mask;
    } * ranges;
    size_t n_ranges;
    uint32_t resolved[RESOLVED_MAX];
    size_t n_resolved;
};

/* ---- ports ---- */

/* slirp's own addresses are 52:55 and its IP address. */
static void world_mac(uint32_t address, uint8_t *ret)
{
    put_u16(ret, 0x5255);
    put_u32(ret + 2, address);
}

static bool is_world_mac(const uint8_t *mac)
{
    return get_u16(mac) == 0x5255;
}

static uint32_t network_of(const struct fabric_port *port)
{
    return port->address & 0xffffff00;
}

static void egress_free(struct fabric_egress *egress)
{
    if (egress) {
        free(egress->ranges);
        free(egress);
    }
}

/* "10.0.0.0/8", "10.1.2.3"; a name is compared when it is answered. */
static struct fabric_egress *egress_of(const struct switch_port *config)
{
    struct fabric_egress *egress = mem_new(struct fabric_egress);
    for (size_t i = 0; i < config->n_egress; i++) {
        char text[INET_ADDRSTRLEN + 1];
        unsigned bits = 32;
        struct in_addr address;
        if (sscanf(config->egress[i], "%15[0-9.]/%2u", text, &bits) < 1 || bits > 32 ||
            inet_pton(AF_INET, text, &address) != 1) {
            continue;
        }
        uint32_t mask = bits ? UINT32_MAX << (32 - bits) : 0;
        mem_grow(egress->ranges, egress->n_ranges);
        egress->ranges[egress->n_ranges++] = (struct range){ntohl(address.s_addr) & mask, mask};
    }
    return egress;
}

struct fabric *fabric_new(const struct fabric_output *output)
{
    struct fabric *fabric = mem_new(struct fabric);
    fabric->output = *output;
    return fabric;
}

struct fabric_port *fabric_find(const struct fabric *fabric, const char *name)
{
    for (size_t i = 0; i < fabric->n_ports; i++) {
        if (text_eq(fabric->ports[i]->config->name, name)) {
            return fabric->ports[i];
        }
    }
    return NULL;
}

size_t fabric_count(const struct fabric *fabric)
{
    return fabric->n_ports;
}

struct fabric_port *fabric_at(const struct fabric *fabric, size_t i)
{
    return fabric->ports[i];
}

static void forget_learned(struct fabric *fabric, const struct fabric_port *port)
{
    for (size_t i = 0; i < fabric->n_learned; i++) {
        if (fabric->learned[i].port == port) {
            fabric->learned[i].port = NULL;
        }
    }
}

struct fabric_port *fabric_put(struct fabric *fabric, struct switch_port *config_take)
{
    struct in_addr address = {0};
    struct fabric_port *port = fabric_find(fabric, config_take->name);
    if (!port && fabric->n_ports == SWITCH_PORTS_MAX) {
        fields_free(&switch_port_fields, config_take);
        return NULL;
    }
    if (!port) {
        port = mem_new(struct fabric_port);
        port->fd = -1;
        fabric->ports[fabric->n_ports++] = port;
    }
    fields_free(&switch_port_fields, port->config);
    egress_free(port->egress);
    forget_learned(fabric, port);
    port->config = config_take;
    port->egress = config_take->n_egress ? egress_of(config_take) : NULL;
    (void)inet_pton(AF_INET, config_take->address, &address);
    port->address = ntohl(address.s_addr);
    (void)mac_parse(config_take->mac, port->mac);
    return port;
}

void fabric_remove(struct fabric *fabric, struct fabric_port *port)
{
    forget_learned(fabric, port);
    for (size_t i = 0; i < fabric->n_ports; i++) {
        if (fabric->ports[i] == port) {
            fabric->ports[i] = fabric->ports[--fabric->n_ports];
        }
    }
    fields_free(&switch_port_fields, port->config);
    egress_free(port->egress);
    free(port);
}

void fabric_free(struct fabric *fabric)
{
    while (fabric && fabric->n_ports > 0) {
        fabric_remove(fabric, fabric->ports[0]);
    }
    free(fabric);
}

/* ---- whose an address is ---- */

static struct fabric_port *port_of_mac(const struct fabric *fabric, const uint8_t *mac)
{
    for (size_t i = 0; i < fabric->n_ports; i++) {
        if (memcmp(fabric->ports[i]->mac, mac, MAC_SIZE) == 0) {
            return fabric->ports[i];
        }
    }
    for (size_t i = 0; i < fabric->n_learned; i++) {
        if (fabric->learned[i].port && memcmp(fabric->learned[i].mac, mac, MAC_SIZE) == 0) {
            return fabric->learned[i].port;
        }
    }
    return NULL;
}

static struct fabric_port *port_of_address(const struct fabric *fabric, uint32_t address)
{
    for (size_t i = 0; i < fabric->n_ports; i++) {
        if (fabric->ports[i]->address == address) {
            return fabric->ports[i];
        }
    }
    return NULL;
}

/* An address that is no other port's. False when the port has used as many as it may. */
static bool learn(struct fabric *fabric, struct fabric_port *port, const uint8_t *mac)
{
    size_t n_own = 0, free_at = fabric->n_learned;
    for (size_t i = 0; i < fabric->n_learned; i++) {
        n_own += fabric->learned[i].port == port;
        free_at = fabric->learned[i].port ? free_at : i;
    }
    if (n_own == LEARNED_OF_PORT_MAX || free_at == LEARNED_MAX) {
        return false;
    }
    fabric->n_learned += free_at == fabric->n_learned;
    fabric->learned[free_at].port = port;
    memcpy(fabric->learned[free_at].mac, mac, MAC_SIZE);
    return true;
}

/* It claims to be another port, or slirp. An address of none in the network is its own matter: a
 * guest may have nested ones. */
static bool is_forged(struct fabric *fabric, struct fabric_port *port, const struct packet *packet)
{
    const struct fabric_port *by_mac = port_of_mac(fabric, packet->from_mac);
    const struct fabric_port *by_address = port_of_address(fabric, packet->from);
    bool is_worlds = packet->from == (network_of(port) | SWITCH_GATEWAY) ||
                     packet->from == (network_of(port) | SWITCH_NAMESERVER);
    if (mac_is_group(packet->from_mac) || is_world_mac(packet->from_mac) || is_worlds ||
        (by_mac && by_mac != port) || (by_address && by_address != port)) {
        return true;
    }
    return !by_mac && !learn(fabric, port, packet->from_mac);
}

/* ---- the way out ---- */

static bool is_allowed_by_name(const struct fabric_egress *egress, uint32_t address)
{
    size_t n = egress->n_resolved < RESOLVED_MAX ? egress->n_resolved : RESOLVED_MAX;
    for (size_t i = 0; i < n; i++) {
        if (egress->resolved[i] == address) {
            return true;
        }
    }
    return false;
}

static bool is_allowed(const struct fabric_port *port, uint32_t address)
{
    const struct fabric_egress *egress = port->egress;
    for (size_t i = 0; egress && i < egress->n_ranges; i++) {
        if ((address & egress->ranges[i].mask) == egress->ranges[i].network) {
            return true;
        }
    }
    return egress && is_allowed_by_name(egress, address);
}

static bool is_service(const struct fabric_port *port, const struct packet *packet)
{
    for (size_t i = 0; i < port->config->n_services; i++) {
        if (port->config->services[i].port == packet->to_port) {
            return true;
        }
    }
    return false;
}

/* The guest has a way out by its first network, whatever is closed on this one, and the names of
 * the world from here. */
static bool asks_about_world(const struct fabric_port *port)
{
    return port->config->is_further && !port->config->has_no_names;
}

/* slirp opens a connection for a SYN alone; what else is of TCP belongs to one that it has, such as
 * one through a forward, or is refused by it. */
static bool may_leave(const struct fabric_port *port, const struct packet *packet)
{
    bool is_filtered = port->config->is_isolated || port->config->n_egress > 0;
    if (!is_filtered || packet->ether_type == ETHERNET_ARP) {
        return true;
    }
    if (packet->ether_type != ETHERNET_IPV4) {
        return false;
    }
    uint32_t own = packet->to - network_of(port);
    if (asks_about_world(port) && own == SWITCH_NAMESERVER) {
        return true;
    }
    bool is_tcp = packet->protocol == IP_TCP && !packet->is_fragment;
    bool is_answer = is_tcp && (packet->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN;
    bool is_udp_answer =
        packet->protocol == IP_UDP && !packet->is_fragment && own == SWITCH_GATEWAY;
    if (is_answer || is_udp_answer ||
        (own == SWITCH_GATEWAY && !packet->is_fragment && is_service(port, packet))) {
        return true;
    }
    if (port->config->is_isolated) {
        return false;
    }
    return own == SWITCH_NAMESERVER || is_allowed(port, packet->to);
}

static void note_address(void *context, const char *name, uint32_t address)
{
    struct fabric_port *port = context;
    struct fabric_egress *egress = port->egress;
    for (size_t i = 0; i < port->config->n_egress; i++) {
        if (strcasecmp(port->config->egress[i], name) == 0 &&
            !is_allowed_by_name(egress, address)) {
            egress->resolved[egress->n_resolved++ % RESOLVED_MAX] = address;
        }
    }
}

/* ---- what is answered here ---- */

struct question {
    const struct fabric *fabric;
    const struct fabric_port *port;
};

static const char *host_of(const struct fabric_port *port)
{
    return port->config->host ? port->config->host : port->config->name;
}

static enum dns_finding look_up(void *context, const char *name, uint32_t *ret_address)
{
    const struct question *question = context;
    char domain[DNS_NAME_SIZE];
    (void)snprintf(domain, sizeof(domain), ".%s.internal", question->port->config->project);
    size_t n = strlen(name), n_domain = strlen(domain);
    bool is_whole = n > n_domain && strcasecmp(name + n - n_domain, domain) == 0;
    size_t n_host = is_whole ? n - n_domain : n;
    const struct switch_port *config = question->port->config;
    for (size_t i = 0; i < question->fabric->n_ports; i++) {
        const struct fabric_port *port = question->fabric->ports[i];
        const char *host = host_of(port);
        if (strlen(host) == n_host && strncasecmp(host, name, n_host) == 0) {
            *ret_address = port->address;
            return DNS_FOUND;
        }
    }
    const struct fabric_output *output = &question->fabric->output;
    cleanup_free char *host = mem_strndup(name, n_host);
    for (size_t i = 0; output->find_elsewhere && i < config->n_others; i++) {
        if (output->find_elsewhere(output->context, config->others[i], host, ret_address)) {
            return DNS_FOUND;
        }
    }
    bool is_closed = config->is_isolated && !asks_about_world(question->port);
    return is_whole || is_closed ? DNS_MISSING : DNS_FOREIGN;
}

static void send_answer(struct fabric *fabric, struct fabric_port *port,
    const struct datagram_way *way, const uint8_t *payload, size_t n)
{
    uint8_t frame[ETHERNET_HEADER + 1500];
    size_t length = n ? packet_write_udp(frame, sizeof(frame), way, payload, n) : 0;
    if (length > 0) {
        fabric->output.to_port(fabric->output.context, port, frame, length);
    }
}

static void answer_dhcp(
    struct fabric *fabric, struct fabric_port *port, const struct packet *packet)
{
    uint8_t answer[DHCP_REPLY_MAX], server_mac[MAC_SIZE];
    static const uint8_t all[MAC_SIZE] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    char domain[DNS_NAME_SIZE];
    uint32_t gateway = network_of(port) | SWITCH_GATEWAY, to = 0;
    (void)snprintf(domain, sizeof(domain), "%s.internal", port->config->project);
    struct dhcp_lease lease = {.mac = port->mac,
        .address = port->address,
        .mask = 0xffffff00,
        .gateway = gateway,
        .nameserver = network_of(port) | SWITCH_NAMESERVER,
        .host = host_of(port),
        .domain = domain,
        .is_further = port->config->is_further,
        .has_no_names = port->config->has_no_names};
    size_t n = dhcp_answer(packet->payload, packet->n_payload, &lease, answer, &to);
    world_mac(gateway, server_mac);
    struct datagram_way way = {server_mac, to == UINT32_MAX ? all : port->mac, gateway, to,
        DHCP_SERVER_PORT, DHCP_CLIENT_PORT};
    send_answer(fabric, port, &way, answer, n);
}

/* True: it is not a question about the world. */
static bool answer_dns(struct fabric *fabric, struct fabric_port *port, const struct packet *packet)
{
    uint8_t answer[DNS_ANSWER_MAX];
    struct question question = {fabric, port};
    size_t n = dns_answer(packet->payload, packet->n_payload, look_up, &question, answer);
    struct datagram_way way = {
        packet->to_mac, packet->from_mac, packet->to, packet->from, DNS_PORT, packet->from_port};
    send_answer(fabric, port, &way, answer, n);
    return n > 0;
}

/* ---- frames ---- */

static void flood(
    struct fabric *fabric, const struct fabric_port *from, const uint8_t *frame, size_t n)
{
    for (size_t i = 0; i < fabric->n_ports; i++) {
        if (fabric->ports[i] != from) {
            fabric->output.to_port(fabric->output.context, fabric->ports[i], frame, n);
        }
    }
}

void fabric_from_port(
    struct fabric *fabric, struct fabric_port *port, const uint8_t *frame, size_t n)
{
    struct packet packet;
    if (!packet_parse(frame, n, &packet) || is_forged(fabric, port, &packet) ||
        packet_is_of_router(frame, n)) {
        return;
    }
    bool is_udp = packet.payload != NULL;
    if (is_udp && packet.to_port == DHCP_SERVER_PORT && packet.from_port == DHCP_CLIENT_PORT) {
        answer_dhcp(fabric, port, &packet);
        return;
    }
    uint32_t nameserver = network_of(port) | SWITCH_NAMESERVER;
    if (is_udp && packet.to == nameserver && packet.to_port == DNS_PORT &&
        answer_dns(fabric, port, &packet)) {
        return;
    }
    bool is_group = mac_is_group(packet.to_mac);
    struct fabric_port *to = is_group ? NULL : port_of_mac(fabric, packet.to_mac);
    if (to && to != port) {
        fabric->output.to_port(fabric->output.context, to, frame, n);
    } else if (!to && is_group) {
        flood(fabric, port, frame, n);
    }
    bool is_for_world = is_group ? packet.ether_type == ETHERNET_ARP : is_world_mac(packet.to_mac);
    if (is_for_world && may_leave(port, &packet)) {
        fabric->output.to_world(fabric->output.context, frame, n);
    }
}

void fabric_from_world(struct fabric *fabric, const uint8_t *frame, size_t n)
{
    struct packet packet;
    if (!packet_parse(frame, n, &packet)) {
        return;
    }
    if (mac_is_group(packet.to_mac)) {
        flood(fabric, NULL, frame, n);
        return;
    }
    struct fabric_port *to = port_of_mac(fabric, packet.to_mac);
    if (to && to->egress && packet.payload && packet.from_port == DNS_PORT &&
        packet.from == (network_of(to) | SWITCH_NAMESERVER)) {
        dns_read_answer(packet.payload, packet.n_payload, note_address, to);
    }
    if (to) {
        fabric->output.to_port(fabric->output.context, to, frame, n);
    }
}
