/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/forward.h"

#include <stdio.h>
#include <string.h>

#include "reconcilers/backend/qemu/argv.h"
#include "specs/base/mem.h"

static void push(struct spec_forward **list, size_t *n, struct spec_forward forward)
{
    mem_grow(*list, *n);
    (*list)[(*n)++] = forward;
}

size_t forward_list(const struct vm_spec *spec, uint16_t ssh_port, struct spec_forward **ret)
{
    struct spec_forward *list = NULL;
    size_t n = 0;
    if (network_has_forwards(spec->network.mode)) {
        if (ssh_port) {
            push(&list, &n,
                (struct spec_forward){.protocol = FORWARD_TCP,
                    .host_port = ssh_port,
                    .guest_port = FORWARD_GUEST_SSH_PORT});
        }
        for (size_t i = 0; i < spec->network.n_forwards; i++) {
            push(&list, &n, spec->network.forwards[i]);
        }
    }
    *ret = list;
    return n;
}

static bool parse_line(const char *line, struct spec_forward *ret)
{
    char protocol[4], address[INET_ADDRSTRLEN];
    unsigned host_port, guest_port;
    if (sscanf(line, " %3[A-Z][HOST_FORWARD] %*d %15s %5u %*15s %5u", protocol, address, &host_port,
            &guest_port) != 4 ||
        host_port > UINT16_MAX || guest_port > UINT16_MAX) {
        return false;
    }
    *ret =
        (struct spec_forward){.protocol = strcmp(protocol, "UDP") == 0 ? FORWARD_UDP : FORWARD_TCP,
            .host_port = (uint16_t)host_port,
            .guest_port = (uint16_t)guest_port};
    bool is_any = strcmp(address, "*") == 0;
    if (strcmp(address, forward_address(ret)) != 0) {
        (void)snprintf(ret->address, sizeof(ret->address), "%s", is_any ? "0.0.0.0" : address);
    }
    return true;
}

size_t forward_parse(const char *info_usernet, struct spec_forward **ret)
{
    struct spec_forward *list = NULL;
    size_t n = 0;
    const char *line = info_usernet;
    while (line) {
        struct spec_forward forward;
        if (parse_line(line, &forward)) {
            push(&list, &n, forward);
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    *ret = list;
    return n;
}

bool forward_is_in(const struct spec_forward *forward, const struct spec_forward *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (forward_equal(&list[i], forward)) {
            return true;
        }
    }
    return false;
}

char *forward_add_line(const struct spec_forward *forward)
{
    return mem_printf("hostfwd_add " QEMU_NETDEV " %s:%s:%u-:%u",
        forward_protocol_name(forward->protocol), forward_address(forward), forward->host_port,
        forward->guest_port);
}

char *forward_remove_line(const struct spec_forward *forward)
{
    return mem_printf("hostfwd_remove " QEMU_NETDEV " %s:%s:%u",
        forward_protocol_name(forward->protocol), forward_address(forward), forward->host_port);
}
