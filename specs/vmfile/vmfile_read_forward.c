/* SPDX-License-Identifier: MPL-2.0 */
/* `forward host=8080 guest=80`: a range of ports is as many forwards; `forward socket="…"
 * guest="…"`; `forward "auto"`. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/vmfile_reader.h"

struct ports {
    char address[INET_ADDRSTRLEN]; /* "": 127.0.0.1 */
    uint16_t first, last;          /* 0: not valid, and reported */
};

struct forward_values {
    struct ports host, guest;
    struct vmfile_field guest_field; /* a port, or with `socket` a path */
    char *socket;                    /* absolute; NULL: not given, or not valid */
    enum forward_protocol protocol;
    enum socket_direction direction;
};

static bool take_number(const char **text, uint16_t *ret)
{
    char *end;
    size_t n = strspn(*text, "0123456789");
    unsigned long number = n > 0 && n <= 5 ? strtoul(*text, &end, 10) : 0;
    *text += n;
    *ret = (uint16_t)number;
    return number > 0 && number <= UINT16_MAX;
}

/* "8000-8010"; before it, where `has_address`, "0.0.0.0:". */
static bool parse(const char *text, bool has_address, struct ports *ret)
{
    struct in_addr address;
    const char *colon = has_address ? strchr(text, ':') : NULL;
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (n >= sizeof(ret->address)) {
        return false;
    }
    memcpy(ret->address, text, n);
    if (colon && inet_pton(AF_INET, ret->address, &address) != 1) {
        return false;
    }
    if (text_eq(ret->address, "127.0.0.1")) {
        ret->address[0] = '\0';
    }
    text = colon ? colon + 1 : text;
    if (!take_number(&text, &ret->first)) {
        return false;
    }
    ret->last = ret->first;
    return !*text ||
           (*text++ == '-' && take_number(&text, &ret->last) && !*text && ret->first <= ret->last);
}

static void read_ports(struct vmfile_reader *reader, const struct vmfile_field *field,
    bool has_address, struct ports *ret)
{
    struct ports ports = {.first = 0};
    bool is_text = field->value->kind == KDL_STRING && strpbrk(field->value->string, "-:");
    if (!is_text) {
        if (vmfile_port(reader, field, &ports.first)) {
            ports.last = ports.first;
            *ret = ports;
        }
    } else if (parse(field->value->string, has_address, &ports)) {
        *ret = ports;
    } else {
        vmfile_report(reader, field->value->pos,
            has_address ? "write: host=8080, host=\"8000-8010\", or host=\"0.0.0.0:8080\" for all "
                          "addresses of this host"
                        : "write: guest=80, or guest=\"8000-8010\"",
            "`%s` is not a port or a range of ports: \"%s\"", field->name, field->value->string);
    }
}

static void read_host(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    read_ports(reader, field, true, &((struct forward_values *)target)->host);
}

/* What it is depends on the other fields. */
static void read_guest(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    (void)reader;
    ((struct forward_values *)target)->guest_field = *field;
}

static void read_socket(
    struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    cleanup_free char *path = vmfile_future_path(reader, field);
    if (path && !socket_path_is_valid(path)) {
        vmfile_report(reader, field->value->pos, "use a shorter one",
            "`socket`: the path '%s' is longer than %d bytes, which no socket's can be", path,
            SOCKET_PATH_MAX);
    } else if (path) {
        ((struct forward_values *)target)->socket = TAKE_PTR(path);
    }
}

enum forward_field {
    FORWARD_HOST,
    FORWARD_GUEST,
    FORWARD_PROTO,
    FORWARD_SOCKET,
    FORWARD_DIRECTION,
    FORWARD_FIELD_COUNT_
};

static const struct vmfile_rule forward_rules[FORWARD_FIELD_COUNT_] = {
    [FORWARD_HOST] = {"host", .usage = "host=8080", .read_value = read_host},
    [FORWARD_GUEST] = {"guest", .usage = "guest=80", .read_value = read_guest},
    [FORWARD_PROTO] = {"proto", .usage = "proto=\"tcp\"", .kind = VMFILE_WORD,
        .offset = offsetof(struct forward_values, protocol), .words = &forward_protocol_words},
    [FORWARD_SOCKET] = {"socket", .usage = "socket=\"~/docker.sock\"", .read_value = read_socket},
    [FORWARD_DIRECTION] = {"direction", .usage = "direction=\"to-host\"", .kind = VMFILE_WORD,
        .offset = offsetof(struct forward_values, direction), .words = &socket_direction_words},
};

static const char forward_usage[] = "forward host=8080 guest=80";
static const struct vmfile_shape forward_shape = {
    forward_usage, 0, 1, forward_rules, FORWARD_FIELD_COUNT_, false};

static void add_forward(
    struct vmfile_vm *vm, const struct spec_forward *forward, struct kdl_pos pos)
{
    size_t n = vm->spec->network.n_forwards;
    mem_grow(vm->forwards, n);
    vm->forwards[n] = pos;
    mem_grow(vm->spec->network.forwards, n);
    vm->spec->network.forwards[n] = *forward;
    vm->spec->network.n_forwards++;
}

/* Each is a listener of the VM's QEMU or switch. */
enum { FORWARDS_MAX = 1024 };

static void check_range(
    struct vmfile_reader *reader, const struct forward_values *values, struct kdl_pos pos)
{
    int n_host = values->host.last - values->host.first + 1;
    int n_guest = values->guest.last - values->guest.first + 1;
    if (n_host != n_guest) {
        vmfile_report(reader, pos, "a range leads to a range of the same length",
            "`host` has %d port%s, `guest` has %d", n_host, n_host > 1 ? "s" : "", n_guest);
    } else if (n_host > FORWARDS_MAX) {
        vmfile_report(reader, pos, "for more, give the VM an address: network \"tap\"",
            "a range has at most %d ports, not %d", FORWARDS_MAX, n_host);
    }
}

static void read_port_forward(struct vmfile_reader *reader, const struct kdl_node *node,
    struct vmfile_vm *vm, struct forward_values *values, const struct kdl_pos *seen)
{
    if (!seen[FORWARD_HOST].line || !seen[FORWARD_GUEST].line) {
        vmfile_report(reader, node->pos, "write: forward host=8080 guest=80",
            "`forward` needs both `host` and `guest`");
    }
    if (seen[FORWARD_DIRECTION].line) {
        vmfile_report(reader, seen[FORWARD_DIRECTION], "remove it",
            "`direction` goes with `socket`: a port leads to the guest");
    }
    if (seen[FORWARD_GUEST].line) {
        read_ports(reader, &values->guest_field, false, &values->guest);
    }
    struct kdl_pos pos = seen[FORWARD_HOST].line ? seen[FORWARD_HOST] : node->pos;
    if (values->host.first && values->guest.first) {
        check_range(reader, values, pos);
    }
    for (int i = 0; i <= values->host.last - values->host.first && i < FORWARDS_MAX; i++) {
        struct spec_forward forward = {.protocol = values->protocol,
            .host_port = (uint16_t)(values->host.first + i),
            .guest_port = (uint16_t)(values->guest.first + i)};
        (void)snprintf(forward.address, sizeof(forward.address), "%s", values->host.address);
        add_forward(vm, &forward, pos);
    }
}

static void read_socket_forward(struct vmfile_reader *reader, const struct kdl_node *node,
    struct vmfile_vm *vm, struct forward_values *values, const struct kdl_pos *seen)
{
    static const char usage[] =
        "write: forward socket=\"~/docker.sock\" guest=\"/run/docker.sock\"";
    struct spec_network *network = &vm->spec->network;
    const enum forward_field others[] = {FORWARD_HOST, FORWARD_PROTO};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (seen[others[i]].line) {
            vmfile_report(reader, seen[others[i]], usage,
                "`forward` leads to a port or to a socket: `%s` does not go with `socket`",
                forward_rules[others[i]].name);
        }
    }
    if (!seen[FORWARD_GUEST].line) {
        vmfile_report(reader, node->pos, usage, "`forward` needs both `socket` and `guest`");
        return;
    }
    const struct kdl_value *value = values->guest_field.value;
    const char *guest =
        value->kind == KDL_STRING ? vmfile_line(reader, &values->guest_field) : NULL;
    if (value->kind != KDL_STRING || (guest && !socket_path_is_valid(guest))) {
        vmfile_report(reader, value->pos, usage,
            "`guest` must be the absolute path of a socket in the guest, of %d bytes at most",
            SOCKET_PATH_MAX);
        return;
    }
    if (network->n_sockets == SOCKETS_MAX) {
        vmfile_report(reader, node->pos, "remove one", "VM \"%s\" forwards more than %d sockets",
            vm->spec->name, SOCKETS_MAX);
    }
    if (guest && values->socket) {
        vm->over_ssh = vm->over_ssh.line ? vm->over_ssh : seen[FORWARD_SOCKET];
        mem_grow(vm->sockets, network->n_sockets);
        vm->sockets[network->n_sockets] = seen[FORWARD_SOCKET];
        mem_grow(network->sockets, network->n_sockets);
        network->sockets[network->n_sockets++] =
            (struct spec_socket){TAKE_PTR(values->socket), mem_strdup(guest), values->direction};
    }
}

/* `forward "auto"`. */
static void read_auto_forward(struct vmfile_reader *reader, const struct kdl_node *node,
    struct vmfile_vm *vm, const struct kdl_pos *seen)
{
    const struct kdl_value *value = kdl_argument(node, 0);
    if (value->kind != KDL_STRING || !text_eq(value->string, "auto")) {
        vmfile_report(reader, value->pos, "write: forward host=8080 guest=80, or: forward \"auto\"",
            "`forward` takes no value but \"auto\"");
        return;
    }
    for (size_t i = 0; i < FORWARD_FIELD_COUNT_; i++) {
        if (seen[i].line) {
            vmfile_report(reader, seen[i], "write a `forward` of its own for it",
                "`forward \"auto\"` has no `%s`: it forwards what the guest listens on",
                forward_rules[i].name);
        }
    }
    vm->spec->network.is_auto = true;
    vm->over_ssh = vm->over_ssh.line ? vm->over_ssh : node->pos;
}

void vmfile_read_forward(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct vmfile_vm *vm = target;
    struct forward_values values = {.protocol = FORWARD_TCP};
    struct kdl_pos seen[FORWARD_FIELD_COUNT_] = {{0}};
    vmfile_read_node(reader, node, &forward_shape, &values, seen);
    bool is_auto = kdl_argument(node, 0) != NULL, is_socket = seen[FORWARD_SOCKET].line != 0;
    if (is_auto) {
        read_auto_forward(reader, node, vm, seen);
    } else if (is_socket) {
        read_socket_forward(reader, node, vm, &values, seen);
    } else {
        read_port_forward(reader, node, vm, &values, seen);
    }
    free(values.socket);
}
