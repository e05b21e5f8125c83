/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/addresses.h"

#include <stdlib.h>
#include <string.h>

#include "reconcilers/network/address.h"
#include "reconcilers/vm/forwards.h"
#include "reconcilers/vm/pass.h"
#include "reconcilers/vm/ports.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/lease_key.h"

static const char volume_key[] = "volume/";

static bool declares(const struct vm_spec *spec, const char *lease)
{
    if (!spec) {
        return false;
    }
    if (text_starts_with(lease, volume_key)) {
        return vm_spec_volume(spec, lease + sizeof(volume_key) - 1);
    }
    for (size_t i = 0;; i++) {
        cleanup_free char *key = vm_spec_lease_key(spec, i);
        if (!key || text_eq(key, lease)) {
            return key != NULL;
        }
    }
}

static bool declares_tcp(const struct vm_spec *spec, uint16_t port)
{
    cleanup_free char *lease = mem_printf("tcp/%u", port);
    return declares(spec, lease);
}

/* ---- what the last instance held ---- */

struct release {
    struct pass *pass;
    const struct vm_spec *kept[2]; /* the ports of these stay; NULL: none */
    const struct vm_spec *stays;   /* addresses only on this one's networks stay; NULL: all */
};

/* Whether it is the i-th card's address, on the network that stays. */
static bool is_address(const struct release *release, size_t i, const char *key)
{
    const char *address = vm_status_address(release->pass->patch->status, i);
    const struct spec_network *network = release->stays ? vm_spec_network(release->stays, i) : NULL;
    if (!address || (release->stays && !(network && network->mode == NETWORK_PROJECT))) {
        return false;
    }
    cleanup_free char *own = network ? address_lease_key(network->network, address) : NULL;
    return text_eq(own ? own : key, key) && text_eq(strrchr(key, '/') + 1, address);
}

/* The addresses of a machine that is off stay its own. */
static bool is_of_status(const struct release *release, const char *key)
{
    const struct vm_status *status = release->pass->patch->status;
    cleanup_free char *ssh = mem_printf("tcp/%u", release->pass->view->status->ssh_port);
    bool is_of_card = false;
    for (size_t i = 0; i <= status->n_cards; i++) {
        is_of_card |= text_starts_with(key, "mac/")
                          ? text_eq(strrchr(key, '/') + 1, vm_status_mac(status, i))
                          : text_starts_with(key, "net/") && is_address(release, i, key);
    }
    return is_of_card || text_eq(key, ssh) || forwards_have_lease(status, key);
}

static void drop_lease(void *context, const char *key)
{
    struct release *release = context;
    static const char *const kinds[] = {"tcp/", "udp/", "mac/", "net/", volume_key};
    bool is_ours = false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        is_ours |= text_starts_with(key, kinds[i]);
    }
    if (is_ours && !is_of_status(release, key) && !declares(release->kept[0], key) &&
        !declares(release->kept[1], key)) {
        vm_patch_drop_lease(release->pass->patch, key);
    }
}

/* The table of leases is asked, because the record of the last spec lacks those of a forward that
 * could not be made. Not for a VM that never began to start: a fleet's table is long. */
static void drop_leases(
    struct pass *pass, const struct vm_spec *wanted, const struct vm_spec *running)
{
    struct reconciler_host *host = pass->vm->host;
    struct release release = {pass, {wanted, running}, running ? NULL : wanted};
    const struct vm_status *status = pass->view->status;
    if (status->applied_spec || status->ssh_port) {
        host->each_lease(host, pass->vm->name, drop_lease, &release);
    }
}

void addresses_release_forwards(struct pass *pass)
{
    drop_leases(pass, NULL, NULL);
}

void addresses_release_undeclared(struct pass *pass)
{
    const struct vm_status *status = pass->patch->status;
    drop_leases(pass, pass->env.spec, vm_status_running_spec(status));
}

/* ---- what the next one gets ---- */

static int check_declared(const struct pass *pass, struct error *err)
{
    struct reconciler_host *host = pass->vm->host;
    const struct vm_spec *spec = pass->env.spec;
    for (size_t i = 0;; i++) {
        cleanup_free char *key = vm_spec_lease_key(spec, i);
        const char *holder = key ? host->lease_holder(host, key) : NULL;
        if (!key) {
            return 0;
        }
        if (holder && !text_eq(holder, pass->vm->name)) {
            cleanup_free char *what = lease_in_words(key);
            bool is_port = text_starts_with(what, "host port");
            (void)error_set(err, is_port ? ERR_PORT_TAKEN : ERR_VM_CONFLICT,
                "%s of vm '%s' is used by vm '%s'", what, pass->vm->name, holder);
            return is_port ? error_help(err,
                                 "choose another host port, or stop the other VM: vmctl stop %s",
                                 holder)
                           : error_help(err, "choose another one for one of the VMs");
        }
    }
}

bool addresses_are_held(const struct pass *pass)
{
    struct reconciler_host *host = pass->vm->host;
    for (size_t i = 0;; i++) {
        cleanup_free char *key = vm_spec_lease_key(pass->env.spec, i);
        if (!key || !text_eq(host->lease_holder(host, key), pass->vm->name)) {
            return !key;
        }
    }
}

/* Of an import, whose guest may know its network by it; unless another VM has it. free() it. */
static char *brought_mac(const struct pass *pass)
{
    const struct vm_origin *origin = pass->view->desired->origin;
    const char *mac = origin ? origin->mac : NULL;
    cleanup_free char *lease = mac_lease_key(mac ? mac : "");
    const char *holder = pass->vm->host->lease_holder(pass->vm->host, lease);
    return !holder || text_eq(holder, pass->vm->name) ? mem_strdup(mac) : NULL;
}

/* Where the status has the MAC address and the address of a card. */
static struct vm_card *further_card(struct vm_status *status, size_t i)
{
    return &status->cards[i - 1];
}

static char **mac_of(struct vm_status *status, size_t i)
{
    return i == 0 ? &status->mac : &further_card(status, i)->mac;
}

static char **address_of(struct vm_status *status, size_t i)
{
    return i == 0 ? &status->address : &further_card(status, i)->address;
}

/* Another card of this VM has it, or is to have it. */
static bool is_of_another_card(const struct pass *pass, size_t i, const char *mac)
{
    bool is_taken = false;
    for (size_t at = 0; at < NETWORKS_MAX; at++) {
        const struct spec_network *network = vm_spec_network(pass->env.spec, at);
        is_taken |= at != i && (text_eq(vm_status_mac(pass->patch->status, at), mac) ||
                                   (network && text_eq(network->mac, mac)));
    }
    return is_taken;
}

/* The first card has the one that a VM of one card has. free() it. */
static char *derive_mac(const struct pass *pass, size_t i)
{
    const struct vm_fleet *fleet = &pass->view->desired->fleet;
    cleanup_free char *life = /* the node that had it before may still run it */
        fleet->epoch > 1
            ? mem_printf("%s/epoch %llu", pass->env.uid, (unsigned long long)fleet->epoch)
            : mem_strdup(pass->env.uid);
    char *mac = i == 0 ? ports_mac(pass->vm->host, pass->vm->name, life) : NULL;
    for (unsigned n = 1; i > 0 && (!mac || is_of_another_card(pass, i, mac)); n++) {
        cleanup_free char *seed = mem_printf("%s/network %zu/%u", life, i + 1, n);
        free(mac);
        mac = ports_mac(pass->vm->host, pass->vm->name, seed);
    }
    return mac;
}

/* A machine that runs keeps the one that it was started with, and any machine the one that no spec
 * named. On a real network a guest needs one of its own; behind slirp no one sees it. */
static void choose_mac(struct pass *pass, size_t i)
{
    struct vm_status *status = pass->patch->status;
    const struct spec_network *network = vm_spec_network(pass->env.spec, i);
    const struct vm_spec *applied = pass->view->status->applied_spec;
    const struct spec_network *before = applied ? vm_spec_network(applied, i) : NULL;
    char **mac = mac_of(status, i);
    if (network->mode == NETWORK_NONE) {
        return;
    }
    bool is_other =
        network->mac ? !text_eq(network->mac, *mac) : before && text_eq(before->mac, *mac);
    if (is_other && !pass->situation.is_alive) {
        free(*mac);
        *mac = mem_strdup(network->mac);
    }
    if (!*mac) {
        *mac = i == 0 ? brought_mac(pass) : mem_strdup(network->mac);
    }
    if (!*mac) {
        *mac = derive_mac(pass, i);
    }
    if (network->mode != NETWORK_USER && !text_eq(network->mac, *mac)) { /* that is declared */
        cleanup_free char *lease = mac_lease_key(*mac);
        vm_patch_lease(pass->patch, lease);
    }
}

/* A machine that runs keeps those that it was started with. */
static void choose_cards(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    size_t n = pass->env.spec->n_further_networks;
    while (!pass->situation.is_alive && status->n_cards > n) {
        struct vm_card *card = &status->cards[--status->n_cards];
        free(card->mac);
        free(card->address);
    }
    while (status->n_cards < n) {
        mem_grow(status->cards, status->n_cards);
        status->cards[status->n_cards++] = (struct vm_card){.mac = NULL};
    }
    for (size_t i = 0; i <= n; i++) {
        choose_mac(pass, i);
    }
}

/* One that the VMFile names may be what another card was given before. */
static int check_macs(const struct pass *pass, struct error *err)
{
    for (size_t i = 0; i <= pass->env.spec->n_further_networks; i++) {
        const char *mac = vm_status_mac(pass->patch->status, i);
        for (size_t at = 0; mac && at < i; at++) {
            if (text_eq(vm_status_mac(pass->patch->status, at), mac)) {
                (void)error_set(err, ERR_VM_CONFLICT,
                    "networks %zu and %zu of vm '%s' have the MAC address %s", at + 1, i + 1,
                    pass->vm->name, mac);
                return error_help(err, "choose another `mac` for one of them");
            }
        }
    }
    return 0;
}

bool addresses_name_cards(struct pass *pass)
{
    size_t n = pass->env.spec->n_further_networks;
    bool is_due = n > 0 && !vm_status_mac(pass->view->status, n);
    if (is_due) {
        choose_cards(pass);
    }
    return is_due;
}

/* Keeps the port of earlier instances unless the spec now declares it or another VM leases it. */
static uint16_t choose_ssh_port(const struct pass *pass)
{
    struct reconciler_host *host = pass->vm->host;
    const char *name = pass->vm->name;
    uint16_t port = pass->view->status->ssh_port;
    if (port < PORT_SSH_FIRST || !ports_is_available(host, name, port)) { /* 22: a guest's own */
        port = ports_first_ssh(host, name);
    }
    while (declares_tcp(pass->env.spec, port)) {
        port = ports_next_ssh(host, name, port);
    }
    return port;
}

static void choose_ssh(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    uint16_t before = status->ssh_port;
    status->ssh_port = choose_ssh_port(pass);
    if (before && before != status->ssh_port && !declares_tcp(pass->env.spec, before)) {
        cleanup_free char *old = mem_printf("tcp/%u", before);
        vm_patch_drop_lease(pass->patch, old);
    }
    cleanup_free char *lease = mem_printf("tcp/%u", status->ssh_port);
    vm_patch_lease(pass->patch, lease);
    status->ssh_host = mem_strdup("127.0.0.1");
}

/* Two networks in one range: the guest would not know which way an address is. */
static int check_range(const struct pass *pass, size_t i, const char *address, struct error *err)
{
    size_t n = (size_t)(strrchr(address, '.') + 1 - address);
    for (size_t at = 0; at < i; at++) {
        const struct spec_network *network = vm_spec_network(pass->env.spec, at);
        const char *other = vm_status_address(pass->patch->status, at);
        if (network->mode == NETWORK_PROJECT && other && strncmp(other, address, n) == 0) {
            (void)error_set(err, ERR_VM_CONFLICT,
                "two networks of vm '%s' are in the range %.*s0/24", pass->vm->name, (int)n,
                address);
            return error_help(err, "give one an `address` in another range, of all its VMs");
        }
    }
    return 0;
}

/* The same for as long as the VM is on this network, unless the spec names another. */
static int choose_address(struct pass *pass, size_t i, struct error *err)
{
    const struct spec_network *network = vm_spec_network(pass->env.spec, i);
    const char *before = vm_status_address(pass->view->status, i);
    const struct vm_spec *applied = pass->view->status->applied_spec;
    char **address = address_of(pass->patch->status, i);
    if (pass->situation.is_alive && applied &&
        !spec_network_is_same(network, vm_spec_network(applied, i))) {
        return 0; /* the machine is on another one until its next start */
    }
    if (network->mode != NETWORK_PROJECT) {
        if (i > 0 && !pass->situation.is_alive) { /* what was found on a bridge */
            free(TAKE_PTR(*address));
        }
        return 0;
    }
    char *chosen = pass->situation.is_alive && before ? mem_strdup(before)
                   : network->address
                       ? mem_strdup(network->address)
                       : ports_address(pass->vm->host, pass->vm->name, network, before);
    if (!chosen) {
        (void)error_set(
            err, ERR_VM_CONFLICT, "every address of network '%s' is in use", network->network);
        return error_help(err, "move some of its VMs to a network of another name");
    }
    free(*address);
    *address = chosen;
    cleanup_free char *lease = address_lease_key(network->network, chosen);
    vm_patch_lease(pass->patch, lease);
    return check_range(pass, i, chosen, err);
}

static int choose_addresses(struct pass *pass, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && vm_spec_network(pass->env.spec, i); i++) {
        rc = choose_address(pass, i, err);
    }
    return rc;
}

int addresses_choose(struct pass *pass, struct error *err)
{
    const struct vm_spec *spec = pass->env.spec;
    if (check_declared(pass, err) < 0) {
        return -(int)err->code;
    }
    choose_cards(pass);
    struct vm_status *status = pass->patch->status;
    free(TAKE_PTR(status->ssh_host));
    if (check_macs(pass, err) < 0 || choose_addresses(pass, err) < 0) {
        return -(int)err->code;
    }
    if (network_has_forwards(spec->network.mode)) {
        choose_ssh(pass);
    } else { /* on a bridge the guest has an address of its own, to be found once it runs */
        if (status->ssh_port >= PORT_SSH_FIRST) {
            cleanup_free char *old = mem_printf("tcp/%u", status->ssh_port);
            vm_patch_drop_lease(pass->patch, old);
        }
        status->ssh_port = 0;
    }
    bool is_running = pass->situation.is_alive; /* it has its volumes until they are detached */
    drop_leases(pass, spec, is_running ? vm_status_running_spec(pass->view->status) : NULL);
    for (size_t i = 0;; i++) {
        cleanup_free char *key = vm_spec_lease_key(spec, i);
        if (!key) {
            return 0;
        }
        vm_patch_lease(pass->patch, key);
    }
}

/* Of a further network "tap", for who asks: SSH is the first network's. */
static bool discover_further(struct pass *pass)
{
    const struct vm_spec *spec = pass->env.spec;
    struct vm_status *status = pass->patch->status;
    bool has_changed = false;
    for (size_t i = 1; i <= spec->n_further_networks && i <= status->n_cards; i++) {
        const struct spec_network *network = vm_spec_network(spec, i);
        struct vm_card *card = further_card(status, i);
        char found[INET6_ADDRSTRLEN];
        if (network->mode == NETWORK_TAP && card->mac &&
            address_find(network->bridge, card->mac, pass->wall_ms / 1000, found) &&
            !text_eq(card->address, found)) {
            free(card->address);
            card->address = mem_strdup(found);
            has_changed = true;
        }
    }
    return has_changed;
}

bool addresses_discover(struct pass *pass)
{
    enum { SSH_PORT = 22 };
    const struct vm_spec *spec = pass->env.spec;
    struct vm_status *status = pass->patch->status;
    char found[INET6_ADDRSTRLEN];
    const char *ip = NULL;
    if (spec->network.mode == NETWORK_VNIC) {
        ip = spec->network.address ? spec->network.address : status->instance.guest;
    } else if (spec->network.mode == NETWORK_TAP && status->mac &&
               address_find(spec->network.bridge, status->mac, pass->wall_ms / 1000, found)) {
        ip = found;
    } else if (spec->network.mode == NETWORK_TAP) {
        ip = pass->machine.agent_address;
    }
    bool has_changed = discover_further(pass);
    if (!ip || (status->ssh_port == SSH_PORT && text_eq(status->ssh_host, ip))) {
        return has_changed;
    }
    free(status->ssh_host);
    status->ssh_host = mem_strdup(ip);
    status->ssh_port = SSH_PORT;
    return true;
}
