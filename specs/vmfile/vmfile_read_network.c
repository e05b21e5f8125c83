/* SPDX-License-Identifier: MPL-2.0 */
/* `network "mode" { … }` and `forward host=8080 guest=80 proto="tcp"`. */
#include "specs/vmfile/vmfile_reader.h"

#include <stdlib.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static void read_bridge(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct vm_spec *spec = target;
    const char *name = vmfile_line(reader, field);
    if (name && !vmfile_is_ifname(name)) {
        vmfile_report(reader, field->value->pos, NULL,
            "`bridge` must be the name of a network interface (at most 15 characters), not \"%s\"",
            name);
    } else if (name) {
        spec->network.bridge = mem_strdup(name);
    }
}

static void read_vnic_name(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct vm_spec *spec = target;
    const char *name = vmfile_line(reader, field);
    if (name && !vmfile_is_vnic_name(name)) {
        vmfile_report(reader, field->value->pos, NULL,
            "`name` must be a VNIC: a letter first, a digit last, at most 31 characters, not "
            "\"%s\"",
            name);
    } else if (name) {
        spec->network.vnic = mem_strdup(name);
    }
}

enum network_field { NETWORK_BRIDGE, NETWORK_NAME, NETWORK_FIELD_COUNT_ };

static const struct vmfile_rule network_rules[NETWORK_FIELD_COUNT_] = {
    [NETWORK_BRIDGE] = {"bridge", .usage = "bridge \"br0\"", .read_value = read_bridge},
    [NETWORK_NAME] = {"name", .usage = "name \"vnic0\"", .read_value = read_vnic_name},
};

static const struct vmfile_shape network_shape = {
    "network \"user\"", 1, 1, network_rules, NETWORK_FIELD_COUNT_};

static void check_mode(struct vmfile_reader *reader, const struct kdl_node *node,
    const struct vm_spec *spec, const struct kdl_pos seen[NETWORK_FIELD_COUNT_])
{
    enum network_mode mode = spec->network.mode;
    if (seen[NETWORK_BRIDGE].line && mode != NETWORK_TAP) {
        vmfile_report(reader, seen[NETWORK_BRIDGE], "write: network \"tap\" { bridge \"br0\" }",
            "`bridge` goes with network \"tap\", not \"%s\"", network_mode_name(mode));
    }
    if (seen[NETWORK_NAME].line && mode != NETWORK_VNIC) {
        vmfile_report(reader, seen[NETWORK_NAME], "write: network \"vnic\" { name \"vnic0\" }",
            "`name` goes with network \"vnic\", not \"%s\"", network_mode_name(mode));
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

static void read_host_port(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    (void)vmfile_port(reader, field, &((struct spec_forward *)target)->host_port);
}

static void read_guest_port(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    (void)vmfile_port(reader, field, &((struct spec_forward *)target)->guest_port);
}

static void read_protocol(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct spec_forward *forward = target;
    int protocol;
    if (vmfile_word(reader, field, &forward_protocol_words, &protocol)) {
        forward->protocol = (enum forward_protocol)protocol;
    }
}

enum forward_field { FORWARD_HOST, FORWARD_GUEST, FORWARD_PROTO, FORWARD_FIELD_COUNT_ };

static const struct vmfile_rule forward_rules[FORWARD_FIELD_COUNT_] = {
    [FORWARD_HOST] = {"host", .usage = "host=8080", .read_value = read_host_port},
    [FORWARD_GUEST] = {"guest", .usage = "guest=80", .read_value = read_guest_port},
    [FORWARD_PROTO] = {"proto", .usage = "proto=\"tcp\"", .read_value = read_protocol},
};

static const char forward_usage[] = "forward host=8080 guest=80";
static const struct vmfile_shape forward_shape = {
    forward_usage, 0, 0, forward_rules, FORWARD_FIELD_COUNT_};

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
