/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/switch/port.h"

#include <arpa/inet.h>

#include "reconcilers/network/switch/packet.h"
#include "specs/base/error.h"
#include "specs/base/fields.h"

static const struct field rows[] = {
    FIELD(struct switch_port, name, "name"),
    FIELD(struct switch_port, host, "host", .omit_empty = true),
    FIELD(struct switch_port, project, "project"),
    FIELD(struct switch_port, mac, "mac"),
    FIELD(struct switch_port, address, "address"),
    FIELD_LIST(struct switch_port, forwards, n_forwards, "forwards", &spec_forward_fields),
    FIELD_LIST(struct switch_port, services, n_services, "hostServices", &spec_service_fields),
    FIELD(struct switch_port, is_isolated, "isolated"),
    FIELD_TEXTS(struct switch_port, egress, n_egress, "egress"),
    FIELD(struct switch_port, is_further, "further", .omit_empty = true),
    FIELD(struct switch_port, has_no_names, "noNames", .omit_empty = true),
    FIELD_TEXTS(struct switch_port, others, n_others, "others", .omit_empty = true),
};

static int check_port(const void *object, struct error *err)
{
    const struct switch_port *port = object;
    uint8_t mac[MAC_SIZE];
    struct in_addr address;
    bool is_whole = port->name && port->project && port->mac && port->address &&
                    mac_parse(port->mac, mac) && inet_pton(AF_INET, port->address, &address) == 1;
    return is_whole ? 0 : error_set(err, ERR_STORE, "a port has no name or no addresses");
}

const struct fields switch_port_fields = {
    FIELDS_OF(rows, struct switch_port), .is_strict = true, .check = check_port};
