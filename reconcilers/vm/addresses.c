/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/addresses.h"

#include <stdlib.h>

#include "reconcilers/network/address.h"
#include "reconcilers/vm/pass.h"
#include "reconcilers/vm/ports.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* Forwards exist in user mode only. */
static size_t count_forwards(const struct vm_spec *spec)
{
    return spec && spec->network.mode == NETWORK_USER ? spec->network.n_forwards : 0;
}

static bool has_forward(const struct vm_spec *spec, enum forward_protocol protocol, uint16_t port)
{
    for (size_t i = 0; i < count_forwards(spec); i++) {
        const struct spec_forward *forward = &spec->network.forwards[i];
        if (forward->protocol == protocol && forward->host_port == port) {
            return true;
        }
    }
    return false;
}

/* ---- what the last instance held ---- */

/* Drops the leases of the last instance's forwards that `next` (NULL: none) does not have. */
static void drop_forwards(struct pass *pass, const struct vm_spec *next)
{
    const struct vm_status *status = pass->view->status;
    const struct vm_spec *last = status->applied_spec;
    for (size_t i = 0; i < count_forwards(last); i++) {
        const struct spec_forward *forward = &last->network.forwards[i];
        cleanup_free char *key = forward_lease_key(forward);
        bool is_ssh = forward->protocol == FORWARD_TCP && forward->host_port == status->ssh_port;
        if (!is_ssh && !has_forward(next, forward->protocol, forward->host_port)) {
            vm_patch_drop_lease(pass->patch, key);
        }
    }
}

void addresses_release_forwards(struct pass *pass)
{
    drop_forwards(pass, NULL);
}

/* ---- what the next one gets ---- */

static int check_forwards(const struct pass *pass, struct error *err)
{
    struct reconciler_host *host = pass->vm->host;
    const struct vm_spec *spec = pass->env.spec;
    for (size_t i = 0; i < count_forwards(spec); i++) {
        cleanup_free char *key = forward_lease_key(&spec->network.forwards[i]);
        const char *holder = host->lease_holder(host, key);
        if (holder && !text_eq(holder, pass->vm->name)) {
            error_set(err, ERR_PORT_TAKEN, "host port %s of vm '%s' is used by vm '%s'", key,
                pass->vm->name, holder);
            return error_help(
                err, "choose another host port, or stop the other VM: vmctl stop %s", holder);
        }
    }
    return 0;
}

bool addresses_are_held(const struct pass *pass)
{
    struct reconciler_host *host = pass->vm->host;
    for (size_t i = 0; i < count_forwards(pass->env.spec); i++) {
        cleanup_free char *key = forward_lease_key(&pass->env.spec->network.forwards[i]);
        if (!text_eq(host->lease_holder(host, key), pass->vm->name)) {
            return false;
        }
    }
    return true;
}

/* On a real network a guest needs a MAC address of its own; behind slirp no one sees it. */
static void choose_mac(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    enum network_mode mode = pass->env.spec->network.mode;
    if (mode == NETWORK_NONE) {
        return;
    }
    if (!status->mac) {
        status->mac = ports_mac(pass->vm->host, pass->vm->name, pass->env.uid);
    }
    if (mode != NETWORK_USER) {
        cleanup_free char *lease = mem_printf("mac/%s", status->mac);
        vm_patch_lease(pass->patch, lease);
    }
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
    while (has_forward(pass->env.spec, FORWARD_TCP, port)) {
        port = ports_next_ssh(host, name, port);
    }
    return port;
}

static void choose_ssh(struct pass *pass)
{
    struct vm_status *status = pass->patch->status;
    uint16_t before = status->ssh_port;
    status->ssh_port = choose_ssh_port(pass);
    if (before && before != status->ssh_port && !has_forward(pass->env.spec, FORWARD_TCP, before)) {
        cleanup_free char *old = mem_printf("tcp/%u", before);
        vm_patch_drop_lease(pass->patch, old);
    }
    cleanup_free char *lease = mem_printf("tcp/%u", status->ssh_port);
    vm_patch_lease(pass->patch, lease);
    status->ssh_host = mem_strdup("127.0.0.1");
}

int addresses_choose(struct pass *pass, struct error *err)
{
    const struct vm_spec *spec = pass->env.spec;
    if (check_forwards(pass, err) < 0) {
        return -(int)err->code;
    }
    drop_forwards(pass, spec);
    choose_mac(pass);
    struct vm_status *status = pass->patch->status;
    free(TAKE_PTR(status->ssh_host));
    if (spec->network.mode == NETWORK_USER) {
        choose_ssh(pass);
    } else { /* on a bridge the guest has an address of its own, to be found once it runs */
        if (status->ssh_port >= PORT_SSH_FIRST) {
            cleanup_free char *old = mem_printf("tcp/%u", status->ssh_port);
            vm_patch_drop_lease(pass->patch, old);
        }
        status->ssh_port = 0;
    }
    for (size_t i = 0; i < count_forwards(spec); i++) {
        cleanup_free char *key = forward_lease_key(&spec->network.forwards[i]);
        vm_patch_lease(pass->patch, key);
    }
    return 0;
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
    }
    if (!ip || (status->ssh_port == SSH_PORT && text_eq(status->ssh_host, ip))) {
        return false;
    }
    free(status->ssh_host);
    status->ssh_host = mem_strdup(ip);
    status->ssh_port = SSH_PORT;
    return true;
}
