/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vmfile/vmfile_reader.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

static const struct spec_network *network_of(const struct vmfile_reader *reader, size_t i)
{
    return &reader->vms[i].spec->network;
}

static bool is_one_host(const struct vmfile_reader *reader, size_t a, size_t b)
{
    return text_eq(reader->file->places[a], reader->file->places[b]);
}

static bool is_one_network(const struct vmfile_reader *reader, size_t a, size_t b)
{
    const struct spec_network *one = network_of(reader, a), *other = network_of(reader, b);
    return is_one_host(reader, a, b) && one->mode == NETWORK_PROJECT &&
           other->mode == NETWORK_PROJECT && text_eq(one->network, other->network);
}

/* "10.20.30.0/24" of "10.20.30.40". free() it. */
static char *range_of(const char *address)
{
    return mem_printf("%.*s.0/24", (int)(strrchr(address, '.') - address), address);
}

static void check_mac(struct vmfile_reader *reader, size_t i)
{
    const char *mac = network_of(reader, i)->mac;
    for (size_t other = 0; mac && other < i; other++) {
        if (is_one_host(reader, i, other) && text_eq(network_of(reader, other)->mac, mac)) {
            vmfile_report(reader, reader->vms[i].mac, "choose another one",
                "`mac` \"%s\" is that of VM \"%s\", too", mac, reader->vms[other].spec->name);
            return;
        }
    }
}

/* The first VM of its network that has an address; `count`: there is none. */
static size_t first_of_network(const struct vmfile_reader *reader, size_t i, size_t count)
{
    size_t first = 0;
    while (first < count &&
           !(is_one_network(reader, first, i) && network_of(reader, first)->address)) {
        first++;
    }
    return first;
}

static void check_address(struct vmfile_reader *reader, size_t i)
{
    const char *address = network_of(reader, i)->address;
    size_t first = first_of_network(reader, i, i);
    if (!address || first == i) {
        return;
    }
    cleanup_free char *range = range_of(network_of(reader, first)->address);
    if (strncmp(range, address, strlen(range) - strlen("0/24")) != 0) {
        vmfile_report(reader, reader->vms[i].address, "or put it on a network of another `name`",
            "`address` must be in %s, as that of VM \"%s\" on the same network, not \"%s\"", range,
            reader->vms[first].spec->name, address);
        return;
    }
    for (size_t other = first; other < i; other++) {
        if (is_one_network(reader, i, other) &&
            text_eq(network_of(reader, other)->address, address)) {
            vmfile_report(reader, reader->vms[i].address, "choose another one",
                "`address` \"%s\" is that of VM \"%s\", too", address,
                reader->vms[other].spec->name);
            return;
        }
    }
}

void vmfile_check_addresses(struct vmfile_reader *reader)
{
    size_t n = reader->file->n_vms;
    for (size_t i = 0; i < n; i++) {
        struct spec_network *network = &reader->vms[i].spec->network;
        check_mac(reader, i);
        size_t first = network->mode == NETWORK_PROJECT ? first_of_network(reader, i, n) : n;
        if (first < n) {
            check_address(reader, i);
            network->range = range_of(network_of(reader, first)->address);
        }
    }
}
