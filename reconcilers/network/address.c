/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glob.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "reconcilers/network/leases.h"
#include "specs/base/buf.h"
#include "specs/base/cleanup.h"
#include "specs/base/error.h"
#include "specs/base/fs.h"
#include "specs/vm/vm_spec.h"

enum {
    MAC_SIZE = 6,
    FILES_MAX = 64,
    FILE_SIZE_MAX = 1 << 20, /* by default dnsmasq gives 1000 leases: 80 KB */
};

/*
 * ---- neighbours ----
 *
 * The kernel's table of neighbours (ARP and IPv6 neighbour discovery), as `ip neigh show dev
 * BRIDGE` prints it, by rtnetlink(7). Reading it needs no privilege. The host only knows neighbours
 * it exchanges packets with: a guest served by another machine's DHCP is missing until then.
 */

enum {
    /* As much as the kernel ever puts into one datagram of a dump (netlink_dump() in af_netlink.c).
     */
    DATAGRAM_SIZE = 32 << 10,
    /* At about 100 bytes an entry more than a host with the default gc_thresh3 can have. */
    DATAGRAMS_MAX = 256,
};

/* The best so far. A larger `rank` wins, then the younger one. */
struct search {
    unsigned ifindex;
    const uint8_t *mac;
    int rank;     /* 0: none yet */
    uint32_t age; /* clock ticks since the kernel last confirmed it */
    int family;
    uint8_t address[sizeof(struct in6_addr)];
};

struct entry {
    const struct ndmsg *head;
    const struct rtattr *address, *mac, *cache;
};

static void read_attributes(const struct nlmsghdr *message, struct entry *entry)
{
    size_t left = message->nlmsg_len - NLMSG_LENGTH(sizeof(*entry->head));
    const char *at = (const char *)entry->head + NLMSG_ALIGN(sizeof(*entry->head));
    while (left >= sizeof(struct rtattr)) {
        const struct rtattr *attribute = (const void *)at;
        size_t used = RTA_ALIGN(attribute->rta_len);
        if (attribute->rta_len < sizeof(*attribute) || attribute->rta_len > left) {
            return;
        }
        if (attribute->rta_type == NDA_DST) {
            entry->address = attribute;
        } else if (attribute->rta_type == NDA_LLADDR) {
            entry->mac = attribute;
        } else if (attribute->rta_type == NDA_CACHEINFO) {
            entry->cache = attribute;
        }
        left -= used < left ? used : left;
        at += used;
    }
}

static bool has_size(const struct rtattr *attribute, size_t size)
{
    return attribute && attribute->rta_len == RTA_LENGTH(size);
}

static const void *value(const struct rtattr *attribute)
{
    return (const char *)attribute + RTA_LENGTH(0);
}

/* 0: of no use. */
static int rank_entry(const struct entry *entry)
{
    unsigned flags = entry->head->ndm_state;
    int state = flags & (NUD_PERMANENT | NUD_REACHABLE)       ? 2
                : flags & (NUD_STALE | NUD_DELAY | NUD_PROBE) ? 1
                                                              : 0;
    if (entry->head->ndm_family == AF_INET && has_size(entry->address, sizeof(struct in_addr))) {
        return state > 0 ? state + 2 : 0;
    }
    if (entry->head->ndm_family != AF_INET6 || !has_size(entry->address, sizeof(struct in6_addr))) {
        return 0;
    }
    struct in6_addr address;
    memcpy(&address, value(entry->address), sizeof(address));
    return IN6_IS_ADDR_LINKLOCAL(&address) || IN6_IS_ADDR_MULTICAST(&address) ? 0 : state;
}

static uint32_t age_of(const struct entry *entry)
{
    struct nda_cacheinfo info;
    if (!has_size(entry->cache, sizeof(info))) {
        return UINT32_MAX;
    }
    memcpy(&info, value(entry->cache), sizeof(info));
    return info.ndm_confirmed < info.ndm_updated ? info.ndm_confirmed : info.ndm_updated;
}

static void consider(struct search *search, const struct nlmsghdr *message)
{
    if (message->nlmsg_type != RTM_NEWNEIGH ||
        message->nlmsg_len < NLMSG_LENGTH(sizeof(struct ndmsg))) {
        return;
    }
    struct entry entry = {.head = (const void *)((const char *)message + NLMSG_HDRLEN)};
    if ((unsigned)entry.head->ndm_ifindex != search->ifindex) {
        return;
    }
    read_attributes(message, &entry);
    if (!has_size(entry.mac, MAC_SIZE) || memcmp(value(entry.mac), search->mac, MAC_SIZE) != 0) {
        return;
    }
    int rank = rank_entry(&entry);
    uint32_t age = age_of(&entry);
    if (rank > search->rank || (rank > 0 && rank == search->rank && age < search->age)) {
        search->rank = rank;
        search->age = age;
        search->family = entry.head->ndm_family;
        memcpy(search->address, value(entry.address), entry.address->rta_len - RTA_LENGTH(0));
    }
}

/* With strict checking the kernel leaves out other interfaces itself (Linux 4.20 and later); an
 * older one sends all, which consider() filters. */
static int request_dump(int fd, unsigned ifindex)
{
    struct {
        struct nlmsghdr head;
        struct ndmsg neighbour;
        struct rtattr attribute;
        uint32_t ifindex;
    } request = {
        .head = {.nlmsg_len = sizeof(request),
            .nlmsg_type = RTM_GETNEIGH,
            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .neighbour = {.ndm_family = AF_UNSPEC},
        .attribute = {.rta_len = RTA_LENGTH(sizeof(uint32_t)), .rta_type = NDA_IFINDEX},
        .ifindex = ifindex,
    };
    int on = 1;
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t n =
        sendto(fd, &request, sizeof(request), 0, (const struct sockaddr *)&kernel, sizeof(kernel));
    return n == (ssize_t)sizeof(request) ? 0 : -1;
}

/* False at the end of the dump, or when the kernel reports an error. */
static bool take_datagram(struct search *search, const char *bytes, size_t n)
{
    while (n >= sizeof(struct nlmsghdr)) {
        const struct nlmsghdr *message = (const void *)bytes;
        if (message->nlmsg_len < sizeof(*message) || message->nlmsg_len > n ||
            message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
            return false;
        }
        consider(search, message);
        size_t used = NLMSG_ALIGN(message->nlmsg_len);
        n -= used < n ? used : n;
        bytes += used;
    }
    return true;
}

/* The kernel makes each part of the dump inside recv(), so there is nothing to wait for: EAGAIN
 * also ends it. */
static void read_dump(int fd, struct search *search)
{
    _Alignas(struct nlmsghdr) char bytes[DATAGRAM_SIZE];
    for (int i = 0; i < DATAGRAMS_MAX; i++) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0 || !take_datagram(search, bytes, (size_t)n)) {
            return;
        }
    }
}

/*
 * The address under which the host knows `mac` (6 bytes) on the interface `ifindex`, out of entries
 * that are REACHABLE, STALE, DELAY, PROBE or PERMANENT. IPv4 before IPv6, confirmed before
 * unconfirmed, then the most recent. IPv6 link-local addresses are left out: they mean
 * nothing without their interface. `ret_ip` holds INET6_ADDRSTRLEN bytes and is written only on
 * success; false also when the kernel does not answer. Never blocks.
 */
static bool find_in_neighbours(unsigned ifindex, const uint8_t *mac, char *ret_ip)
{
    cleanup_close int fd =
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0 || request_dump(fd, ifindex) < 0) {
        return false;
    }
    struct search search = {.ifindex = ifindex, .mac = mac};
    read_dump(fd, &search);
    return search.rank > 0 &&
           inet_ntop(search.family, search.address, ret_ip, INET6_ADDRSTRLEN) != NULL;
}

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

/* ---- leases ---- */

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

/* Ignores a file that cannot be read, is not a regular file (a FIFO would block: it has no size) or
 * is too large for a list of leases. */
static void search_file(const char *path, const char *mac, int64_t wall_s, struct lease *best)
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

static void search_files(const char *pattern, const char *mac, int64_t wall_s, struct lease *best)
{
    glob_t found = {.gl_pathc = 0};
    if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && i < FILES_MAX; i++) {
            search_file(found.gl_pathv[i], mac, wall_s, best);
        }
    }
    globfree(&found);
}

static bool find_lease(const char *mac, int64_t wall_s, char *ret_ip)
{
    struct lease best = {.expires_s = 0};
    const char *named = getenv("VMCTL_DNSMASQ_LEASES");
    if (named && named[0]) {
        search_files(named, mac, wall_s, &best);
    } else {
        for (size_t i = 0; i < ARRAY_LEN(lease_files); i++) {
            search_files(lease_files[i], mac, wall_s, &best);
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
    uint8_t bytes[MAC_SIZE];
    unsigned ifindex = if_nametoindex(bridge ? bridge : SPEC_DEFAULT_BRIDGE);
    return (ifindex != 0 && read_mac(mac, bytes) && find_in_neighbours(ifindex, bytes, ret_ip)) ||
           find_lease(mac, wall_s, ret_ip);
}
