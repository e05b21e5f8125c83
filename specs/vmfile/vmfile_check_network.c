/* SPDX-License-Identifier: MPL-2.0 */
#include "specs/vmfile/vmfile_reader.h"

#include <stdlib.h>
#include <string.h>

#include "specs/base/cleanup.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* A network card, by its VM and its place there. */
struct card {
    size_t vm, at;
};

static const struct spec_network *network_of(const struct vmfile_reader *reader, struct card card)
{
    return vm_spec_network(reader->vms[card.vm].spec, card.at);
}

static const char *vm_of(const struct vmfile_reader *reader, struct card card)
{
    return reader->vms[card.vm].spec->name;
}

/* Only of those with an address or `mac` of the VMFile: they have a node. */
static const struct vmfile_network *node_of(const struct vmfile_reader *reader, struct card card)
{
    return &reader->vms[card.vm].networks[card.at];
}

/* The next one, VM by VM; false: there are no more. */
static bool next_card(const struct vmfile_reader *reader, struct card *card)
{
    bool is_last = card->at == reader->vms[card->vm].spec->n_further_networks;
    *card = is_last ? (struct card){card->vm + 1, 0} : (struct card){card->vm, card->at + 1};
    return card->vm < reader->file->n_vms;
}

static bool is_before(struct card a, struct card b)
{
    return a.vm < b.vm || (a.vm == b.vm && a.at < b.at);
}

static bool is_one_host(const struct vmfile_reader *reader, struct card a, struct card b)
{
    return text_eq(reader->file->places[a.vm], reader->file->places[b.vm]);
}

static bool is_one_network(const struct vmfile_reader *reader, struct card a, struct card b)
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

static void check_mac(struct vmfile_reader *reader, struct card card)
{
    const char *mac = network_of(reader, card)->mac;
    for (struct card other = {0, 0}; mac && is_before(other, card);
         (void)next_card(reader, &other)) {
        if (is_one_host(reader, card, other) && text_eq(network_of(reader, other)->mac, mac)) {
            bool is_own = other.vm == card.vm;
            vmfile_report(reader, node_of(reader, card)->mac, "choose another one",
                "`mac` \"%s\" is also that of %s \"%s\"", mac,
                is_own ? "another network of VM" : "VM", vm_of(reader, other));
            return;
        }
    }
}

/* The first card on its network that has an address. False: there is none. */
static bool find_first(const struct vmfile_reader *reader, struct card card, struct card *ret)
{
    struct card first = {0, 0};
    do {
        if (is_one_network(reader, first, card) && network_of(reader, first)->address) {
            *ret = first;
            return true;
        }
    } while (next_card(reader, &first));
    return false;
}

static void check_address(struct vmfile_reader *reader, struct card card, struct card first)
{
    const char *address = network_of(reader, card)->address;
    if (!address || !is_before(first, card)) {
        return;
    }
    cleanup_free char *range = range_of(network_of(reader, first)->address);
    if (strncmp(range, address, strlen(range) - strlen("0/24")) != 0) {
        vmfile_report(reader, node_of(reader, card)->address,
            "or put it on a network of another `name`",
            "`address` must be in %s, as that of VM \"%s\" on the same network, not \"%s\"", range,
            vm_of(reader, first), address);
        return;
    }
    for (struct card other = first; is_before(other, card); (void)next_card(reader, &other)) {
        if (is_one_network(reader, card, other) &&
            text_eq(network_of(reader, other)->address, address)) {
            vmfile_report(reader, node_of(reader, card)->address, "choose another one",
                "`address` \"%s\" is also that of VM \"%s\"", address, vm_of(reader, other));
            return;
        }
    }
}

/* QEMU's. */
static const char user_range[] = "10.0.2.0/24";

/* Two networks of one VM in one range: its guest would not know which way an address is. */
static void check_range(struct vmfile_reader *reader, struct card card)
{
    const struct vmfile_network *node = node_of(reader, card);
    const char *range = network_of(reader, card)->range;
    bool is_twice = false;
    for (struct card other = {card.vm, 0}; network_of(reader, other); other.at++) {
        const struct spec_network *network = network_of(reader, other);
        is_twice |= other.at < card.at && text_eq(network->range, range);
        is_twice |= network->mode == NETWORK_USER && text_eq(user_range, range);
    }
    if (is_twice) {
        vmfile_report(reader, node->address.line ? node->address : node->pos,
            "give them addresses of different ranges",
            "two networks of VM \"%s\" have the addresses %s", vm_of(reader, card), range);
    }
}

void vmfile_check_addresses(struct vmfile_reader *reader)
{
    struct card card = {0, 0}, first;
    if (reader->file->n_vms == 0) {
        return;
    }
    do {
        struct spec_network *network = (struct spec_network *)(uintptr_t)network_of(reader, card);
        check_mac(reader, card);
        if (network->mode == NETWORK_PROJECT && find_first(reader, card, &first)) {
            check_address(reader, card, first);
            network->range = range_of(network_of(reader, first)->address);
            check_range(reader, card);
        }
    } while (next_card(reader, &card));
}

/* ---- the networks of one VM ---- */

/* The name that the VMFile has for it; NULL: none. */
static const char *name_of(const struct spec_network *network)
{
    const char *dot = network->network ? strchr(network->network, '.') : NULL;
    return dot ? dot + 1 : NULL;
}

static void check_pair(struct vmfile_reader *reader, const struct vmfile_vm *vm, size_t i, size_t k)
{
    const struct spec_network *network = vm_spec_network(vm->spec, i);
    const struct spec_network *other = vm_spec_network(vm->spec, k);
    const struct vmfile_network *node = &vm->networks[i];
    const char *name = name_of(network);
    if (network->mode == NETWORK_USER && other->mode == NETWORK_USER) {
        vmfile_report(reader, node->pos, "remove one; for a second network: network \"project\"",
            "VM \"%s\" has network \"user\" twice", vm->spec->name);
    } else if (network->mode == NETWORK_VNIC && other->mode == NETWORK_VNIC &&
               text_eq(network->vnic, other->vnic)) {
        vmfile_report(reader, node->pos, "name another VNIC, or remove it",
            "VM \"%s\" has VNIC \"%s\" twice", vm->spec->name, network->vnic);
    } else if (network->mode == NETWORK_PROJECT && other->mode == NETWORK_PROJECT &&
               text_eq(network->network, other->network)) {
        vmfile_report(reader, name ? node->name : node->pos,
            "give it a name of its own: network \"project\" name=\"lan\"",
            "VM \"%s\" is on network \"project\"%s%s twice", vm->spec->name, name ? " " : "",
            name ? name : "");
    }
}

void vmfile_check_networks(struct vmfile_reader *reader, const struct vmfile_vm *vm)
{
    const struct spec_network *network;
    for (size_t i = 0; vm->n_networks > 1 && (network = vm_spec_network(vm->spec, i)); i++) {
        if (network->mode == NETWORK_NONE) {
            vmfile_report(reader, vm->networks[i].pos, "remove it, or the others",
                "network \"none\" of VM \"%s\" goes with no other network", vm->spec->name);
            return;
        }
        for (size_t k = 0; k < i; k++) {
            check_pair(reader, vm, i, k);
        }
    }
    bool is_propolis = vm->n_networks > 1 && vm->spec->backend == BACKEND_PROPOLIS;
    for (size_t i = 0; is_propolis && (network = vm_spec_network(vm->spec, i)); i++) {
        if (network->mode != NETWORK_VNIC) {
            vmfile_report(reader, vm->networks[i].pos, "write: network \"vnic\" { name \"vnic0\" }",
                "network \"%s\" goes with backend \"qemu\", not \"propolis\"",
                network_mode_name(network->mode));
        }
    }
}
