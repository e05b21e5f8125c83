/* SPDX-License-Identifier: MPL-2.0 */
/* `network "mode" { … }`, `forward host=8080 guest=80 proto="tcp"` and `vnc port=5901 …`. */
#include "specs/vmfile/vmfile_reader.h"

#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum network_field {
    NETWORK_BRIDGE,
    NETWORK_NAME,
    NETWORK_ADDRESS,
    NETWORK_SERVICES,
    NETWORK_FIELD_COUNT_
};

enum { SERVICES_MAX = 64 };

static void read_services(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    static const struct vmfile_shape services_shape = {
        "host-services 5432", 1, SERVICES_MAX, NULL, 0, false};
    struct spec_network *network = &((struct vm_spec *)target)->network;
    struct vmfile_field field;
    struct spec_service service;
    vmfile_read_node(reader, node, &services_shape, NULL, NULL);
    for (size_t i = 0; i < SERVICES_MAX && vmfile_argument(node, i, &field); i++) {
        if (vmfile_port(reader, &field, &service.port)) {
            mem_grow(network->services, network->n_services);
            network->services[network->n_services++] = service;
        }
    }
}

#define NETWORK(member) .offset = offsetof(struct vm_spec, network.member)

static const struct vmfile_rule network_rules[NETWORK_FIELD_COUNT_] = {
    [NETWORK_BRIDGE] = {"bridge", .usage = "bridge \"br0\"", .kind = VMFILE_NAME, NETWORK(bridge),
        .is_valid = vmfile_is_ifname,
        .problem = "must be the name of a network interface (at most 15 characters), not"},
    [NETWORK_NAME] = {"name", .usage = "name \"vnic0\"", .kind = VMFILE_NAME, NETWORK(vnic),
        .is_valid = vmfile_is_vnic_name,
        .problem = "must be a VNIC: a letter first, a digit last, at most 31 characters, not"},
    [NETWORK_ADDRESS] = {"address", .usage = "address \"10.0.0.9\"", .kind = VMFILE_NAME,
        NETWORK(address), .is_valid = vmfile_is_ip,
        .problem = "must be the guest's IP address, not"},
    [NETWORK_SERVICES] = {"host-services", .usage = "host-services 5432",
        .read_node = read_services},
};

static const struct vmfile_shape network_shape = {
    "network \"user\"", 1, 1, network_rules, NETWORK_FIELD_COUNT_, false};

static void check_mode(struct vmfile_reader *reader, const struct kdl_node *node,
    const struct vm_spec *spec, const struct kdl_pos seen[NETWORK_FIELD_COUNT_])
{
    enum network_mode mode = spec->network.mode;
    if (seen[NETWORK_BRIDGE].line && mode != NETWORK_TAP) {
        vmfile_report(reader, seen[NETWORK_BRIDGE], "write: network \"tap\" { bridge \"br0\" }",
            "`bridge` goes with network \"tap\", not \"%s\"", network_mode_name(mode));
    }
    for (int i = NETWORK_NAME; i <= NETWORK_ADDRESS && mode != NETWORK_VNIC; i++) {
        if (seen[i].line) {
            vmfile_report(reader, seen[i], "write: network \"vnic\" { name \"vnic0\" }",
                "`%s` goes with network \"vnic\", not \"%s\"", network_rules[i].name,
                network_mode_name(mode));
        }
    }
    if (seen[NETWORK_SERVICES].line && mode != NETWORK_USER) {
        vmfile_report(reader, seen[NETWORK_SERVICES],
            mode == NETWORK_TAP ? "remove it: on a bridge the host's firewall decides"
                                : "write: network \"user\" { host-services 5432 }",
            "`host-services` goes with network \"user\", not \"%s\"", network_mode_name(mode));
    }
    if (mode == NETWORK_VNIC && !seen[NETWORK_NAME].line) {
        vmfile_report(reader, node->pos, "write: network \"vnic\" { name \"vnic0\" }",
            "network \"vnic\" needs the `name` of the VNIC");
    }
}

void vmfile_read_network(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct vmfile_vm *vm = target;
    struct kdl_pos seen[NETWORK_FIELD_COUNT_] = {{0}};
    struct vmfile_field field;
    int mode;
    vmfile_read_node(reader, node, &network_shape, vm->spec, seen);
    if (!vmfile_argument(node, 0, &field) ||
        !vmfile_word(reader, &field, &network_mode_words, &mode)) {
        vm->is_ambiguous = true;
        return;
    }
    vm->spec->network.mode = (enum network_mode)mode;
    check_mode(reader, node, vm->spec, seen);
    if (mode == NETWORK_TAP && !vm->spec->network.bridge) {
        vm->spec->network.bridge = mem_strdup(SPEC_DEFAULT_BRIDGE);
    }
}

enum forward_field { FORWARD_HOST, FORWARD_GUEST, FORWARD_PROTO, FORWARD_FIELD_COUNT_ };

#define FORWARD(member) .offset = offsetof(struct spec_forward, member)

static const struct vmfile_rule forward_rules[FORWARD_FIELD_COUNT_] = {
    [FORWARD_HOST] = {"host", .usage = "host=8080", .kind = VMFILE_PORT, FORWARD(host_port)},
    [FORWARD_GUEST] = {"guest", .usage = "guest=80", .kind = VMFILE_PORT, FORWARD(guest_port)},
    [FORWARD_PROTO] = {"proto", .usage = "proto=\"tcp\"", .kind = VMFILE_WORD, FORWARD(protocol),
        .words = &forward_protocol_words},
};

static const char forward_usage[] = "forward host=8080 guest=80";
static const struct vmfile_shape forward_shape = {
    forward_usage, 0, 0, forward_rules, FORWARD_FIELD_COUNT_, false};

void vmfile_read_forward(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct vmfile_vm *vm = target;
    struct spec_forward forward = {.protocol = FORWARD_TCP};
    struct kdl_pos seen[FORWARD_FIELD_COUNT_] = {{0}};
    vmfile_read_node(reader, node, &forward_shape, &forward, seen);
    if (!seen[FORWARD_HOST].line || !seen[FORWARD_GUEST].line) {
        vmfile_report(reader, node->pos, "write: forward host=8080 guest=80",
            "`forward` needs both `host` and `guest`");
    }
    size_t n = vm->spec->network.n_forwards;
    mem_grow(vm->forwards, n);
    vm->forwards[n] = seen[FORWARD_HOST].line ? seen[FORWARD_HOST] : node->pos;
    mem_grow(vm->spec->network.forwards, n);
    vm->spec->network.forwards[n] = forward;
    vm->spec->network.n_forwards++;
}

/* ---- vnc ---- */

enum vnc_field { VNC_PORT, VNC_PASSWORD_FILE, VNC_FIELD_COUNT_ };

#define VNC(member) .offset = offsetof(struct spec_vnc, member)

static const struct vmfile_rule vnc_rules[VNC_FIELD_COUNT_] = {
    [VNC_PORT] = {"port", .usage = "port=5901", .kind = VMFILE_PORT, VNC(port)},
    [VNC_PASSWORD_FILE] = {"password-file", .usage = "password-file=\"path\"", .kind = VMFILE_PATH,
        VNC(password_file)},
};

static const struct vmfile_shape vnc_shape = {
    "vnc port=5901 password-file=\"path\"", 0, 0, vnc_rules, VNC_FIELD_COUNT_, false};

void vmfile_read_vnc(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct spec_vnc *vnc = &((struct vmfile_vm *)target)->spec->vnc;
    struct kdl_pos seen[VNC_FIELD_COUNT_] = {{0}};
    vmfile_read_node(reader, node, &vnc_shape, vnc, seen);
    if (!seen[VNC_PORT].line || !seen[VNC_PASSWORD_FILE].line) {
        vmfile_report(reader, node->pos, "write: vnc port=5901 password-file=\"path\"",
            "`vnc` needs both `port` and `password-file`");
    }
    if (vnc->port && vnc->port < SPEC_VNC_PORT_FIRST) { /* QEMU counts displays from there */
        vmfile_report(reader, seen[VNC_PORT], "write for example: port=5901",
            "`port` of `vnc` must be at least %d, not %u", SPEC_VNC_PORT_FIRST, vnc->port);
    }
}
