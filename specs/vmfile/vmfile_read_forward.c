/* SPDX-License-Identifier: MPL-2.0 */
/* `forward host=8080 guest=80`: a range of ports is as many forwards. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vmfile/vmfile_reader.h"

struct ports {
    char address[INET_ADDRSTRLEN]; /* "": 127.0.0.1 */
    uint16_t first, last;          /* 0: not valid, and reported */
};

struct forward_values {
    struct ports host, guest;
    enum forward_protocol protocol;
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
            "`%s` is no port and no range of ports: \"%s\"", field->name, field->value->string);
    }
}

static void read_host(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    read_ports(reader, field, true, &((struct forward_values *)target)->host);
}

static void read_guest(struct vmfile_reader *reader, const struct vmfile_field *field, void *target)
{
    read_ports(reader, field, false, &((struct forward_values *)target)->guest);
}

enum forward_field { FORWARD_HOST, FORWARD_GUEST, FORWARD_PROTO, FORWARD_FIELD_COUNT_ };

static const struct vmfile_rule forward_rules[FORWARD_FIELD_COUNT_] = {
    [FORWARD_HOST] = {"host", .usage = "host=8080", .read_value = read_host},
    [FORWARD_GUEST] = {"guest", .usage = "guest=80", .read_value = read_guest},
    [FORWARD_PROTO] = {"proto", .usage = "proto=\"tcp\"", .kind = VMFILE_WORD,
        .offset = offsetof(struct forward_values, protocol), .words = &forward_protocol_words},
};

static const char forward_usage[] = "forward host=8080 guest=80";
static const struct vmfile_shape forward_shape = {
    forward_usage, 0, 0, forward_rules, FORWARD_FIELD_COUNT_, false};

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

void vmfile_read_forward(struct vmfile_reader *reader, const struct kdl_node *node, void *target)
{
    struct vmfile_vm *vm = target;
    struct forward_values values = {.protocol = FORWARD_TCP};
    struct kdl_pos seen[FORWARD_FIELD_COUNT_] = {{0}};
    vmfile_read_node(reader, node, &forward_shape, &values, seen);
    if (!seen[FORWARD_HOST].line || !seen[FORWARD_GUEST].line) {
        vmfile_report(reader, node->pos, "write: forward host=8080 guest=80",
            "`forward` needs both `host` and `guest`");
    }
    struct kdl_pos pos = seen[FORWARD_HOST].line ? seen[FORWARD_HOST] : node->pos;
    if (values.host.first && values.guest.first) {
        check_range(reader, &values, pos);
    }
    for (int i = 0; i <= values.host.last - values.host.first && i < FORWARDS_MAX; i++) {
        struct spec_forward forward = {.protocol = values.protocol,
            .host_port = (uint16_t)(values.host.first + i),
            .guest_port = (uint16_t)(values.guest.first + i)};
        (void)snprintf(forward.address, sizeof(forward.address), "%s", values.host.address);
        add_forward(vm, &forward, pos);
    }
}
