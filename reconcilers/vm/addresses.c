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

/* The host ports that a spec declares, as leases: its forwards, which exist in user mode only, and
 * the port of its screen. NULL at the end; free() it. */
static char *declared_port(const struct vm_spec *spec, size_t i)
{
    size_t n = spec && spec->network.mode == NETWORK_USER ? spec->network.n_forwards : 0;
    if (i < n) {
        return forward_lease_key(&spec->network.forwards[i]);
    }
    return spec && spec->vnc.port && i == n ? mem_printf("tcp/%u", spec->vnc.port) : NULL;
}

static const char volume_key[] = "volume/";

static bool declares(const struct vm_spec *spec, const char *lease)
{
    if (text_starts_with(lease, volume_key)) {
        return vm_spec_volume(spec, lease + sizeof(volume_key) - 1);
    }
    for (size_t i = 0;; i++) {
        cleanup_free char *key = declared_port(spec, i);
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
};

static void drop_lease(void *context, const char *key)
{
    struct release *release = context;
    cleanup_free char *ssh = mem_printf("tcp/%u", release->pass->view->status->ssh_port);
    bool is_ours = text_starts_with(key, "tcp/") || text_starts_with(key, "udp/") ||
                   text_starts_with(key, volume_key);
    if (is_ours && !text_eq(key, ssh) && !declares(release->kept[0], key) &&
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
    struct release release = {pass, {wanted, running}};
    const struct vm_status *status = pass->patch->status;
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

static int check_forwards(const struct pass *pass, struct error *err)
{
    struct reconciler_host *host = pass->vm->host;
    const struct vm_spec *spec = pass->env.spec;
    for (size_t i = 0;; i++) {
        cleanup_free char *key = declared_port(spec, i);
        const char *holder = key ? host->lease_holder(host, key) : NULL;
        if (!key) {
            return 0;
        }
        if (holder && !text_eq(holder, pass->vm->name)) {
            error_set(err, ERR_PORT_TAKEN, "host port %s of vm '%s' is used by vm '%s'", key,
                pass->vm->name, holder);
            return error_help(
                err, "choose another host port, or stop the other VM: vmctl stop %s", holder);
        }
    }
}

bool addresses_are_held(const struct pass *pass)
{
    struct reconciler_host *host = pass->vm->host;
    for (size_t i = 0;; i++) {
        cleanup_free char *key = declared_port(pass->env.spec, i);
        if (!key || !text_eq(host->lease_holder(host, key), pass->vm->name)) {
            return !key;
        }
    }
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

int addresses_choose(struct pass *pass, struct error *err)
{
    const struct vm_spec *spec = pass->env.spec;
    if (check_forwards(pass, err) < 0) {
        return -(int)err->code;
    }
    bool is_running = pass->situation.is_alive; /* it has its volumes until they are detached */
    drop_leases(pass, spec, is_running ? vm_status_running_spec(pass->view->status) : NULL);
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
    for (size_t i = 0;; i++) {
        cleanup_free char *key = declared_port(spec, i);
        if (!key) {
            return 0;
        }
        vm_patch_lease(pass->patch, key);
    }
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
