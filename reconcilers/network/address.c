/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/address.h"

#include <glob.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/network/leases.h"
#include "reconcilers/network/neighbours.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/vm/vm_spec.h"

enum {
    MAC_SIZE = 6,
    FILES_MAX = 64,
    FILE_SIZE_MAX = 1 << 20, /* dnsmasq gives 1000 leases unless told otherwise: 80 KB */
};

static const char *const lease_files[] = {
    "/var/lib/misc/dnsmasq*.leases", /* Debian; LXC: dnsmasq.lxcbr0.leases */
    "/var/lib/dnsmasq/*.leases",     /* Fedora */
    "/var/lib/libvirt/dnsmasq/*.leases",
    "/var/lib/NetworkManager/dnsmasq-*.leases",
    "/run/dnsmasq/*.leases",
    "/run/dnsmasq*.leases",
    "/var/lib/incus/networks/*/dnsmasq.leases",
    "/var/lib/lxd/networks/*/dnsmasq.leases",
    "/var/snap/lxd/common/lxd/networks/*/dnsmasq.leases",
};

static bool read_mac(const char *text, uint8_t *ret)
{
    unsigned bytes[MAC_SIZE];
    int n = -1;
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
            &bytes[4], &bytes[5], &n) != MAC_SIZE ||
        text[n]) {
        return false;
    }
    for (int i = 0; i < MAC_SIZE; i++) {
        ret[i] = (uint8_t)bytes[i];
    }
    return true;
}

static bool find_neighbour(const char *bridge, const char *mac, char *ret_ip)
{
    uint8_t bytes[MAC_SIZE];
    unsigned ifindex = if_nametoindex(bridge);
    return ifindex != 0 && read_mac(mac, bytes) && neighbours_find(ifindex, bytes, ret_ip);
}

/* What cannot be read, is no plain file (a FIFO would block: it has no size) or is too large for a
 * list of leases says nothing. */
static void look_into(const char *path, const char *mac, int64_t wall_s, struct lease *best)
{
    cleanup_buf struct buf text = BUF_INIT(FILE_SIZE_MAX);
    struct error ignored = {.code = ERR_NONE};
    struct lease lease;
    if (fs_size(path) > 0 && fs_read_file(path, &text, &ignored) == 0 &&
        leases_find(buf_str(&text), text.len, mac, wall_s, &lease) &&
        lease.expires_s > best->expires_s) {
        *best = lease;
    }
}

static void look_into_all(const char *pattern, const char *mac, int64_t wall_s, struct lease *best)
{
    glob_t found = {.gl_pathc = 0};
    if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && i < FILES_MAX; i++) {
            look_into(found.gl_pathv[i], mac, wall_s, best);
        }
    }
    globfree(&found);
}

static bool find_lease(const char *mac, int64_t wall_s, char *ret_ip)
{
    struct lease best = {.expires_s = 0};
    const char *named = getenv("VMCTL_DNSMASQ_LEASES");
    if (named && named[0]) {
        look_into_all(named, mac, wall_s, &best);
    } else {
        for (size_t i = 0; i < ARRAY_LEN(lease_files); i++) {
            look_into_all(lease_files[i], mac, wall_s, &best);
        }
    }
    if (best.expires_s == 0) {
        return false;
    }
    memcpy(ret_ip, best.ip, sizeof(best.ip));
    return true;
}

bool address_find(const char *bridge, const char *mac, int64_t wall_s, char *ret_ip)
{
    return find_neighbour(bridge ? bridge : SPEC_DEFAULT_BRIDGE, mac, ret_ip) ||
           find_lease(mac, wall_s, ret_ip);
}
