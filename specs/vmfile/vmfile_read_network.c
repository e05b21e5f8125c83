/* SPDX-License-Identifier: MPL-2.0 */
/* `network "mode" { … }`, `forward host=8080 guest=80 proto="tcp"` and `vnc port=5901 …`. */
#include "specs/vmfile/vmfile_reader.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

enum network_field {
    NETWORK_BRIDGE,
    NETWORK_NAME,
    NETWORK_ADDRESS,
    NETWORK_MAC,
    NETWORK_SERVICES,
    NETWORK_ISOLATE,
    NETWORK_EGRESS,
    NETWORK_FIELD_COUNT_
};

enum { SERVICES_MAX = 64, EGRESS_MAX = 64 };

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

/* Of a VNIC, or of one of the project's networks. */
static void read_network_name(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct spec_network *network = &((struct vm_spec *)target)->network;
    bool is_project = network->mode == NETWORK_PROJECT;
    char **member = is_project ? &network->network : &network->vnic;
    const char *name = vmfile_line(reader, field);
    bool is_valid = name && (is_project ? vm_spec_name_is_valid(name) : vmfile_is_vnic_name(name));
    if (name && !is_valid) {
        vmfile_report(reader, field->value->pos, NULL, "`name` must be %s, not \"%s\"",
            is_project ? "letters, digits, '.', '_' and '-', a letter or digit first"
                       : "a VNIC: a letter first, a digit last, at most 31 characters",
            name);
    } else if (name) {
        free(*member);
        *member = mem_strdup(name);
    }
}

/* The guest's. Of a project network, whose gateway and name server have the first addresses, in a
 * range that is nobody's in the world (RFC 1918). */
static void read_address(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    enum { FIRST = 4, LAST = 254 };
    struct spec_network *network = &((struct vm_spec *)target)->network;
    const char *text = vmfile_line(reader, field);
    struct in_addr address = {0};
    bool is_ipv4 = text && inet_pton(AF_INET, text, &address) == 1;
    uint32_t ip = ntohl(address.s_addr), host = ip & 0xff;
    bool is_private = ip >> 24 == 10 || ip >> 20 == (172 << 4 | 1) || ip >> 16 == (192 << 8 | 168);
    bool is_within = is_ipv4 && is_private && host >= FIRST && host <= LAST;
    if (text && network->mode == NETWORK_PROJECT && !is_within) {
        vmfile_report(reader, field->value->pos, "write for example: address \"10.20.30.40\"",
            "`address` must be a private IPv4 address that ends with .%d to .%d, not \"%s\"", FIRST,
            LAST, text);
    } else if (text && network->mode == NETWORK_VNIC && !vmfile_is_ip(text)) {
        vmfile_report(reader, field->value->pos, NULL,
            "`address` must be the guest's IP address, not \"%s\"", text);
    } else if (text) {
        free(network->address);
        network->address = mem_strdup(text);
    }
}

static void read_mac(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct spec_network *network = &((struct vm_spec *)target)->network;
    const char *text = vmfile_line(reader, field);
    if (text && !mac_address_is_unicast(text)) {
        vmfile_report(reader, field->value->pos, "write for example: mac \"52:54:00:12:34:56\"",
            "`mac` must be the MAC address of one machine, not \"%s\"", text);
    } else if (text) {
        free(network->mac);
        network->mac = mem_strdup(text);
        for (char *at = network->mac; *at; at++) {
            *at = (char)tolower((unsigned char)*at);
        }
    }
}

static void read_isolate(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    static const struct vmfile_shape isolate_shape = {"isolate", 0, 0, NULL, 0, false};
    vmfile_read_node(reader, node, &isolate_shape, NULL, NULL);
    ((struct vm_spec *)target)->network.is_isolated = true;
}

/* "10.0.0.0/8" or an address; else it is a name. */
static bool is_range(const char *text)
{
    char address[INET_ADDRSTRLEN];
    unsigned bits = 0;
    int n = 0;
    struct in_addr ip;
    bool has_bits = sscanf(text, "%15[0-9.]/%2u%n", address, &bits, &n) == 2 && text[n] == '\0';
    return inet_pton(AF_INET, has_bits ? address : text, &ip) == 1 && bits <= 32;
}

static void read_allow(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    struct spec_network *network = &((struct vm_spec *)target)->network;
    const char *text = vmfile_line(reader, field);
    if (text && !is_range(text) &&
        (!vmfile_is_hostname(text) || strspn(text, "0123456789.") == strlen(text))) {
        vmfile_report(reader, field->value->pos, "write for example: allow \"10.0.0.0/8\"",
            "`allow` must be an IPv4 address, a range of them or a host name, not \"%s\"", text);
    } else if (text && network->n_egress < EGRESS_MAX) {
        mem_grow(network->egress, network->n_egress);
        network->egress[network->n_egress++] = mem_strdup(text);
    } else if (text) {
        vmfile_report(
            reader, field->value->pos, NULL, "`egress` takes at most %d `allow`", EGRESS_MAX);
    }
}

static void read_egress(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    static const struct vmfile_rule allow_rules[] = {
        {"allow", .usage = "allow \"10.0.0.0/8\"", .is_list = true, .read_value = read_allow}};
    static const struct vmfile_shape egress_shape = {
        "egress { allow \"10.0.0.0/8\" }", 0, 0, allow_rules, ARRAY_LEN(allow_rules), false};
    struct kdl_pos seen[ARRAY_LEN(allow_rules)] = {{0}};
    vmfile_read_node(reader, node, &egress_shape, target, seen);
    if (!seen[0].line) {
        vmfile_report(reader, node->pos, "write: isolate, or: egress { allow \"10.0.0.0/8\" }",
            "`egress` allows nothing");
    }
}

#define NETWORK(member) .offset = offsetof(struct vm_spec, network.member)

static const struct vmfile_rule network_rules[NETWORK_FIELD_COUNT_] = {
    [NETWORK_BRIDGE] = {"bridge", .usage = "bridge \"br0\"", .kind = VMFILE_NAME, NETWORK(bridge),
        .is_valid = vmfile_is_ifname,
        .problem = "must be the name of a network interface (at most 15 characters), not"},
    [NETWORK_NAME] = {"name", .usage = "name \"vnic0\"", .read_value = read_network_name},
    [NETWORK_ADDRESS] = {"address", .usage = "address \"10.20.30.40\"", .read_value = read_address},
    [NETWORK_MAC] = {"mac", .usage = "mac \"52:54:00:12:34:56\"", .read_value = read_mac},
    [NETWORK_SERVICES] = {"host-services", .usage = "host-services 5432",
        .read_node = read_services},
    [NETWORK_ISOLATE] = {"isolate", .usage = "isolate", .read_node = read_isolate},
    [NETWORK_EGRESS] = {"egress", .usage = "egress { allow \"10.0.0.0/8\" }",
        .read_node = read_egress},
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
        if (seen[i].line && mode != NETWORK_PROJECT) {
            bool is_address = i == NETWORK_ADDRESS;
            vmfile_report(reader, seen[i],
                is_address ? "write: network \"project\" { address \"10.20.30.40\" }"
                           : "write: network \"vnic\" { name \"vnic0\" }",
                "`%s` goes with network \"%s\", not \"%s\"", network_rules[i].name,
                is_address ? "project" : "vnic", network_mode_name(mode));
        }
    }
    if (seen[NETWORK_MAC].line && (mode == NETWORK_VNIC || mode == NETWORK_NONE)) {
        vmfile_report(reader, seen[NETWORK_MAC], "remove it",
            "`mac` goes with network \"user\", \"project\" or \"tap\", not \"%s\"",
            network_mode_name(mode));
    }
    if (seen[NETWORK_SERVICES].line && !network_has_forwards(mode)) {
        vmfile_report(reader, seen[NETWORK_SERVICES],
            mode == NETWORK_TAP ? "remove it: on a bridge the host's firewall decides"
                                : "write: network \"user\" { host-services 5432 }",
            "`host-services` goes with network \"user\", not \"%s\"", network_mode_name(mode));
    }
    for (int i = NETWORK_ISOLATE; i <= NETWORK_EGRESS && mode != NETWORK_PROJECT; i++) {
        if (seen[i].line) {
            cleanup_free char *hint =
                mem_printf("write: network \"project\" { %s }", network_rules[i].usage);
            vmfile_report(reader, seen[i], hint, "`%s` goes with network \"project\", not \"%s\"",
                network_rules[i].name, network_mode_name(mode));
        }
    }
    if (seen[NETWORK_ISOLATE].line && seen[NETWORK_EGRESS].line) {
        vmfile_report(reader, seen[NETWORK_ISOLATE], "remove one of them",
            "`isolate` leaves no way out that `egress` could allow");
    }
    if (mode == NETWORK_VNIC && !seen[NETWORK_NAME].line) {
        vmfile_report(reader, node->pos, "write: network \"vnic\" { name \"vnic0\" }",
            "network \"vnic\" needs the `name` of the VNIC");
    }
}

/* Of a VMFile with a `project`: wherever the file is, and no folder's. */
static void name_after_project(struct spec_network *network, const char *project, const char *lan)
{
    enum { DIGITS = 8 };
    char digest[DIGEST_SIZE];
    cleanup_free char *key =
        mem_printf("project %s", project); /* no folder's: that begins with / */
    digest_text(key, digest);
    network->project = mem_strdup(project);
    network->network =
        mem_printf("%s-%.*s%s%s", project, DIGITS, digest, lan ? "." : "", lan ? lan : "");
}

/*
 * Else the project is the VMFile's folder: its name is the domain of the guests, and by its path
 * two projects of one name differ. `lan_take`: of a network that the VMFile names; NULL: the
 * default.
 */
static void name_project(
    const struct vmfile_reader *reader, struct spec_network *network, char *lan_take)
{
    enum { PROJECT_MAX = 40, DIGITS = 8 };
    char digest[DIGEST_SIZE], name[PROJECT_MAX + 1];
    cleanup_free char *lan = lan_take;
    const char *slash = strrchr(reader->env->base_dir, '/');
    size_t n = 0;
    if (reader->file->project) {
        name_after_project(network, reader->file->project, lan);
        return;
    }
    for (const char *at = slash ? slash + 1 : ""; *at && n < PROJECT_MAX; at++) {
        bool is_plain = isalnum((unsigned char)*at) && !(*at & 0x80);
        if (is_plain || n > 0) {
            name[n++] = is_plain ? (char)tolower((unsigned char)*at) : '-';
        }
    }
    while (n > 0 && name[n - 1] == '-') {
        n--;
    }
    name[n] = '\0';
    digest_text(reader->env->base_dir, digest);
    network->project = mem_strdup(n ? name : "project");
    network->network =
        mem_printf("%s-%.*s%s%s", network->project, DIGITS, digest, lan ? "." : "", lan ? lan : "");
}

/* Into `spec->network`, whichever of the VM's it is: so do the rules. */
static void read_node(struct vmfile_reader *reader, const struct kdl_node *node,
    struct vmfile_vm *vm, struct vmfile_network *ret)
{
    struct spec_network *network = &vm->spec->network;
    struct kdl_pos seen[NETWORK_FIELD_COUNT_] = {{0}};
    struct vmfile_field field;
    int mode;
    bool is_known =
        vmfile_argument(node, 0, &field) && vmfile_word(reader, &field, &network_mode_words, &mode);
    network->mode = is_known ? (enum network_mode)mode : NETWORK_VNIC; /* for `name` */
    vmfile_read_node(reader, node, &network_shape, vm->spec, seen);
    *ret = (struct vmfile_network){
        node->pos, seen[NETWORK_NAME], seen[NETWORK_ADDRESS], seen[NETWORK_MAC]};
    if (!is_known) {
        network->mode = NETWORK_USER;
        vm->is_ambiguous = true;
        return;
    }
    check_mode(reader, node, vm->spec, seen);
    if (mode == NETWORK_PROJECT) {
        name_project(reader, network, TAKE_PTR(network->network));
    }
    if (mode == NETWORK_TAP && !network->bridge) {
        network->bridge = mem_strdup(SPEC_DEFAULT_BRIDGE);
    }
}

void vmfile_read_network(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct vmfile_vm *vm = target;
    struct vm_spec *spec = vm->spec;
    struct spec_network first = spec->network; /* with the forwards */
    bool is_further = vm->n_networks > 0;
    if (is_further) {
        spec->network = (struct spec_network){.mode = NETWORK_USER};
    }
    mem_grow(vm->networks, vm->n_networks);
    read_node(reader, node, vm, &vm->networks[vm->n_networks++]);
    if (is_further) {
        mem_grow(spec->further_networks, spec->n_further_networks);
        spec->further_networks[spec->n_further_networks++] = spec->network;
        spec->network = first;
    }
    if (vm->n_networks == NETWORKS_MAX + 1) {
        vmfile_report(reader, node->pos, "remove one", "VM \"%s\" has more than %d networks",
            spec->name, NETWORKS_MAX);
    }
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
