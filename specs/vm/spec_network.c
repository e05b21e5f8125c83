/* SPDX-License-Identifier: MPL-2.0 */
/* The networks of a spec (vm_spec.h). */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "specs/base/error.h"
#include "specs/base/fields.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/vm_spec.h"

DEFINE_WORDS(
    network_mode, enum network_mode, NETWORK_MODE_COUNT_, "user", "project", "tap", "vnic", "none")
DEFINE_WORDS(forward_protocol, enum forward_protocol, FORWARD_PROTOCOL_COUNT_, "tcp", "udp")

static const struct field forward_rows[] = {
    FIELD_ENUM(struct spec_forward, protocol, "protocol", &forward_protocol_words),
    FIELD(struct spec_forward, host_port, "hostPort"),
    FIELD(struct spec_forward, guest_port, "guestPort"),
    FIELD(struct spec_forward, address, "address", .omit_empty = true),
};
const struct fields spec_forward_fields = {FIELDS_OF(forward_rows, struct spec_forward)};

static const struct field service_rows[] = {
    FIELD(struct spec_service, port, "port"),
};
const struct fields spec_service_fields = {FIELDS_OF(service_rows, struct spec_service)};

static const struct field network_rows[] = {
    FIELD_ENUM(struct spec_network, mode, "mode", &network_mode_words),
    FIELD(struct spec_network, bridge, "bridge"),
    FIELD(struct spec_network, vnic, "vnic"),
    FIELD(struct spec_network, address, "address"),
    FIELD(struct spec_network, mac, "mac"),
    FIELD_LIST(struct spec_network, forwards, n_forwards, "forwards", &spec_forward_fields,
        .is_set = true),
    FIELD_LIST(struct spec_network, sockets, n_sockets, "sockets", &spec_socket_fields,
        .is_set = true, .omit_empty = true),
    FIELD(struct spec_network, is_auto, "autoForward", .omit_empty = true),
    FIELD_LIST(struct spec_network, services, n_services, "hostServices", &spec_service_fields,
        .is_set = true, .omit_empty = true),
    FIELD(struct spec_network, project, "project"),
    FIELD(struct spec_network, network, "network"),
    FIELD(struct spec_network, range, "range"),
    FIELD(struct spec_network, is_isolated, "isolated", .omit_empty = true),
    FIELD_TEXTS(
        struct spec_network, egress, n_egress, "egress", .is_set = true, .omit_empty = true),
};

/* They become the name of a directory, that of a domain, and words of QEMU's command line. */
static int check_network(const void *object, struct error *err)
{
    const struct spec_network *network = object;
    if (network->mac && !mac_address_is_unicast(network->mac)) {
        return error_set(err, ERR_STORE, "a MAC address is not valid");
    }
    bool is_valid = network->mode != NETWORK_PROJECT ||
                    (network->project && network->network && strlen(network->network) < 200 &&
                        vm_spec_name_is_valid(network->project) &&
                        strspn(network->network, SPEC_NAME_CHARS) == strlen(network->network) &&
                        network->network[0] != '.' && network->network[0]);
    return is_valid ? 0 : error_set(err, ERR_STORE, "a project network has no valid name");
}

const struct fields spec_network_fields = {
    FIELDS_OF(network_rows, struct spec_network), .check = check_network};

const struct spec_network *vm_spec_network(const struct vm_spec *spec, size_t i)
{
    return i == 0                          ? &spec->network
           : i <= spec->n_further_networks ? &spec->further_networks[i - 1]
                                           : NULL;
}

const struct spec_network *vm_spec_network_of_mode(
    const struct vm_spec *spec, enum network_mode mode)
{
    const struct spec_network *network = NULL;
    for (size_t i = 0; (network = vm_spec_network(spec, i)) && network->mode != mode; i++) {
    }
    return network;
}

bool spec_network_is_same(const struct spec_network *a, const struct spec_network *b)
{
    return a && b ? a->mode == b->mode && text_eq(a->network, b->network) : a == b;
}

const struct spec_network *vm_spec_name_server(const struct vm_spec *spec)
{
    const struct spec_network *network = vm_spec_network_of_mode(spec, NETWORK_PROJECT);
    return network ? network : &spec->network;
}

bool mac_address_is_valid(const char *text)
{
    enum { LENGTH = 17 };
    bool is_valid = strlen(text) == LENGTH;
    for (size_t i = 0; is_valid && i < LENGTH; i++) {
        is_valid = i % 3 == 2 ? text[i] == ':' : strchr("0123456789abcdefABCDEF", text[i]) != NULL;
    }
    return is_valid;
}

bool mac_address_is_unicast(const char *text)
{
    unsigned first = 0;
    return mac_address_is_valid(text) && sscanf(text, "%2x", &first) == 1 && (first & 1) == 0 &&
           strcasecmp(text, "00:00:00:00:00:00") != 0 && strncasecmp(text, "52:55:", 6) != 0;
}

bool forward_equal(const struct spec_forward *a, const struct spec_forward *b)
{
    return fields_equal(&spec_forward_fields, a, b);
}

const char *forward_address(const struct spec_forward *forward)
{
    return forward->address[0] ? forward->address : "127.0.0.1";
}

const char *forward_local_address(const struct spec_forward *forward)
{
    bool is_any = text_eq(forward->address, "0.0.0.0");
    return is_any ? "127.0.0.1" : forward_address(forward);
}

bool forward_is_open(const struct spec_forward *forward)
{
    return !text_starts_with(forward_address(forward), "127.");
}

char *forward_lease_key(const struct spec_forward *forward)
{
    return mem_printf("%s/%u", forward_protocol_name(forward->protocol), forward->host_port);
}
