/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Loaded into QEMU by LD_PRELOAD, and a part of vmctl-switch: what a guest on network "user" or
 * "project" cannot reach.
 *
 * slirp makes a guest's connections from within that program, and shows the guest the host's
 * loopback at 10.0.2.2. Here connect(2) and the sends of datagrams are refused, as by a closed
 * port, when the address is the host's own: 127.0.0.0/8, ::1, the unspecified ones, those of its
 * interfaces, and what its routes make local ("local 198.51.100.0/24 dev lo"). Allowed are the
 * ports of `host-services`, port 53 of the resolvers in /etc/resolv.conf (which the guest has
 * at 10.0.2.3), and answers to a datagram that came from there (a forward by udp). It guards
 * against guests, not against a QEMU that was taken over.
 *
 * VMCTL_GUARD in the environment: "FD PORT PORT …". FD is a file whose lock proves to vmctld that
 * the guard is in place (guard.h): it is taken through a descriptor that exec closes, so a program
 * without the guard cannot inherit it.
 *
 * Nothing of vmctl is linked here: only the C library, which QEMU has loaded anyway.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "reconcilers/network/switch/guard_ports.h"

enum { PORTS_MAX = 256, ADDRESSES_MAX = 4096, RESOLVERS_MAX = 8, PEERS_MAX = 1024, DNS_PORT = 53 };
enum { FRESH_S = 1, ROUTES_MAX = 256 };

/* An IPv4 address is kept as its mapped form, so that both families compare alike. */
struct endpoint {
    struct in6_addr ip;
    uint16_t port;
    uint32_t scope; /* the interface of a link-local address; 0: not said */
};

/* What the kernel said of the route to an address. */
struct route {
    struct in6_addr ip;
    uint32_t scope;
    time_t asked_at;
    bool is_local;
};

/* Who has sent a datagram to which socket. */
struct peer {
    struct endpoint from;
    int fd;
    uint16_t own_port; /* a descriptor may be another socket later */
};

static struct {
    uint16_t ports[PORTS_MAX];
    size_t n_ports;
    int (*connect)(int, const struct sockaddr *, socklen_t);
    ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    ssize_t (*sendmsg)(int, const struct msghdr *, int);
    int (*sendmmsg)(int, struct mmsghdr *, unsigned, int);
    ssize_t (*recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
    pthread_mutex_t lock; /* of what follows */
    time_t read_at;       /* CLOCK_MONOTONIC; 0: not yet */
    bool is_unknown;      /* the interfaces could not be read: every address may be the host's */
    struct in6_addr own[ADDRESSES_MAX];
    size_t n_own;
    struct route routes[ROUTES_MAX]; /* valid if asked at read_at */
    struct in6_addr resolvers[RESOLVERS_MAX];
    size_t n_resolvers;
    struct peer peers[PEERS_MAX];
    size_t next_peer;
} guard = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct in6_addr mapped(struct in_addr ip)
{
    struct in6_addr result = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(&result.s6_addr[12], &ip, sizeof(ip));
    return result;
}

/* False for other families: QEMU's own sockets. */
static bool endpoint_of(const struct sockaddr *address, socklen_t n, struct endpoint *ret)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (address && n >= sizeof(v4) && address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof(v4));
        *ret = (struct endpoint){mapped(v4.sin_addr), ntohs(v4.sin_port), 0};
        return true;
    }
    if (address && n >= sizeof(v6) && address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof(v6));
        *ret = (struct endpoint){v6.sin6_addr, ntohs(v6.sin6_port), v6.sin6_scope_id};
        return true;
    }
    return false;
}

/* ---- what the host has, read again when it is older than a second ---- */

static void read_interfaces(void)
{
    struct ifaddrs *list = NULL;
    guard.n_own = 0;
    guard.is_unknown = getifaddrs(&list) < 0;
    for (const struct ifaddrs *at = list; at; at = at->ifa_next) {
        struct endpoint own;
        bool is_v6 = at->ifa_addr && at->ifa_addr->sa_family == AF_INET6;
        socklen_t n = is_v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
        if (!endpoint_of(at->ifa_addr, n, &own)) {
            continue;
        }
        guard.is_unknown = guard.is_unknown || guard.n_own == ADDRESSES_MAX;
        if (guard.n_own < ADDRESSES_MAX) {
            guard.own[guard.n_own++] = own.ip;
        }
    }
    if (list) {
        freeifaddrs(list);
    }
}

static void read_resolvers(void)
{
    char line[256], text[INET6_ADDRSTRLEN];
    FILE *file = fopen("/etc/resolv.conf", "re");
    guard.n_resolvers = 0;
    while (file && guard.n_resolvers < RESOLVERS_MAX && fgets(line, sizeof(line), file)) {
        struct in6_addr *ip = &guard.resolvers[guard.n_resolvers];
        struct in_addr v4;
        if (sscanf(line, "nameserver %45[0-9a-fA-F.:]", text) != 1) {
            continue;
        }
        if (inet_pton(AF_INET, text, &v4) == 1) {
            *ip = mapped(v4);
            guard.n_resolvers++;
        } else if (inet_pton(AF_INET6, text, ip) == 1) {
            guard.n_resolvers++;
        }
    }
    if (file) {
        (void)fclose(file);
    }
}

static void refresh(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (guard.read_at == 0 || now.tv_sec - guard.read_at > FRESH_S) {
        read_interfaces();
        read_resolvers();
        guard.read_at = now.tv_sec;
    }
}

static bool is_listed(const struct in6_addr *ip, const struct in6_addr *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(ip, &list[i], sizeof(*ip)) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- where the kernel would send to ---- */

struct route_request {
    struct nlmsghdr header;
    struct rtmsg route;
    struct rtattr to_header;
    uint8_t to[16];
    struct rtattr link_header;
    uint32_t link;
};

/* Of an IPv4 address the attribute ends after four bytes, and no link follows. */
static struct route_request route_request(const struct endpoint *to)
{
    bool is_v4 = IN6_IS_ADDR_V4MAPPED(&to->ip);
    size_t n = is_v4 ? 4 : 16;
    size_t end =
        to->scope && !is_v4 ? sizeof(struct route_request) : offsetof(struct route_request, to) + n;
    struct route_request request = {
        .header = {.nlmsg_len = (uint32_t)end,
            .nlmsg_type = RTM_GETROUTE,
            .nlmsg_flags = NLM_F_REQUEST},
        .route = {.rtm_family = is_v4 ? AF_INET : AF_INET6, .rtm_dst_len = (uint8_t)(8 * n)},
        .to_header = {.rta_type = RTA_DST, .rta_len = (uint16_t)RTA_LENGTH(n)},
        .link_header = {.rta_type = RTA_OIF, .rta_len = RTA_LENGTH(sizeof(uint32_t))},
        .link = to->scope,
    };
    memcpy(request.to, &to->ip.s6_addr[16 - n], n);
    return request;
}

/* The kernel has queued its answer before it returns from the send, so nothing waits here. No route
 * at all: connecting fails by itself. An address that cannot be asked about may be the host's. */
static bool ask_is_local(const struct endpoint *to)
{
    union {
        struct nlmsghdr header;
        uint8_t bytes[4096];
    } answer;
    struct rtmsg route;
    struct nlmsgerr failure;
    struct route_request request = route_request(to);
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    ssize_t n = fd < 0 ? -1 : guard.sendto(fd, &request, request.header.nlmsg_len, 0, NULL, 0);
    n = n < 0 ? -1 : guard.recvfrom(fd, &answer, sizeof(answer), MSG_DONTWAIT, NULL, NULL);
    if (fd >= 0) {
        (void)close(fd);
    }
    if (n >= (ssize_t)NLMSG_LENGTH(sizeof(failure)) && answer.header.nlmsg_type == NLMSG_ERROR) {
        memcpy(&failure, NLMSG_DATA(&answer.header), sizeof(failure));
        return failure.error != -ENETUNREACH && failure.error != -EHOSTUNREACH;
    }
    if (n < (ssize_t)NLMSG_LENGTH(sizeof(route)) || answer.header.nlmsg_type != RTM_NEWROUTE) {
        return true;
    }
    memcpy(&route, NLMSG_DATA(&answer.header), sizeof(route));
    return route.rtm_type == RTN_LOCAL || route.rtm_type == RTN_ANYCAST;
}

/* Datagrams come in thousands to the same address. */
static bool is_routed_here(const struct endpoint *to)
{
    const uint8_t *ip = to->ip.s6_addr;
    struct route *known = &guard.routes[(ip[7] ^ ip[11] ^ ip[13] ^ ip[14] ^ ip[15]) % ROUTES_MAX];
    if (known->asked_at != guard.read_at || known->scope != to->scope ||
        memcmp(&known->ip, &to->ip, sizeof(to->ip)) != 0) {
        *known = (struct route){to->ip, to->scope, guard.read_at, ask_is_local(to)};
    }
    return known->is_local;
}

/* Connecting to an unspecified address reaches the loopback. */
static bool is_host(const struct endpoint *to)
{
    const struct in6_addr *ip = &to->ip;
    bool is_v4 = IN6_IS_ADDR_V4MAPPED(ip) || IN6_IS_ADDR_V4COMPAT(ip);
    if (IN6_IS_ADDR_LOOPBACK(ip) || IN6_IS_ADDR_UNSPECIFIED(ip) ||
        (is_v4 && (ip->s6_addr[12] == 127 || ip->s6_addr[12] == 0))) {
        return true;
    }
    return guard.is_unknown || is_listed(ip, guard.own, guard.n_own) || is_routed_here(to);
}

/* ---- the decision ---- */

static uint16_t own_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t n = sizeof(address);
    struct endpoint own;
    bool is_known = getsockname(fd, (struct sockaddr *)&address, &n) == 0 &&
                    endpoint_of((struct sockaddr *)&address, n, &own);
    return is_known ? own.port : 0;
}

static bool has_spoken(int fd, const struct endpoint *to)
{
    uint16_t port = own_port(fd);
    for (size_t i = 0; i < PEERS_MAX; i++) {
        const struct peer *peer = &guard.peers[i];
        if (peer->from.port == to->port && peer->fd == fd && peer->own_port == port &&
            memcmp(&peer->from.ip, &to->ip, sizeof(to->ip)) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_open(const struct endpoint *to)
{
    for (size_t i = 0; i < guard.n_ports; i++) {
        if (guard.ports[i] == to->port) {
            return true;
        }
    }
    return to->port == DNS_PORT && is_listed(&to->ip, guard.resolvers, guard.n_resolvers);
}

/* What is sent to a group goes out to the LAN, and not to the host's own members of it, such as its
 * mDNS responder. False: that cannot be had. */
static bool keep_from_own_members(int fd, const struct endpoint *to)
{
    int off = 0;
    if (IN6_IS_ADDR_V4MAPPED(&to->ip) && (to->ip.s6_addr[12] & 0xf0) == 0xe0) {
        return setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &off, sizeof(off)) == 0;
    }
    return !IN6_IS_ADDR_MULTICAST(&to->ip) ||
           setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &off, sizeof(off)) == 0;
}

/* Sets errno when it refuses; slirp then answers the guest like a closed port. */
static bool is_refused(int fd, const struct sockaddr *address, socklen_t n)
{
    struct endpoint to;
    if (!endpoint_of(address, n, &to)) {
        return false;
    }
    (void)pthread_mutex_lock(&guard.lock);
    refresh();
    bool is_allowed = !is_host(&to) || is_open(&to) || has_spoken(fd, &to);
    (void)pthread_mutex_unlock(&guard.lock);
    is_allowed = is_allowed && keep_from_own_members(fd, &to);
    errno = is_allowed ? errno : ECONNREFUSED;
    return !is_allowed;
}

static void note_sender(int fd, const struct sockaddr *address, socklen_t n)
{
    struct endpoint from;
    int saved = errno;
    if (!endpoint_of(address, n, &from)) {
        return;
    }
    (void)pthread_mutex_lock(&guard.lock);
    refresh();
    if (is_host(&from) && !has_spoken(fd, &from)) {
        guard.peers[guard.next_peer++ % PEERS_MAX] = (struct peer){from, fd, own_port(fd)};
    }
    (void)pthread_mutex_unlock(&guard.lock);
    errno = saved;
}

/* ---- the C library's functions, by the names that they have in QEMU ---- */

#define IN_PLACE_OF(symbol) __asm__(symbol) __attribute__((visibility("default")))

int guard_connect(int fd, const struct sockaddr *address, socklen_t n) IN_PLACE_OF("connect");
ssize_t guard_sendto(int fd, const void *bytes, size_t n_bytes, int flags,
    const struct sockaddr *address, socklen_t n) IN_PLACE_OF("sendto");
ssize_t guard_sendmsg(int fd, const struct msghdr *message, int flags) IN_PLACE_OF("sendmsg");
int guard_sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags) IN_PLACE_OF("sendmmsg");
ssize_t guard_recvfrom(int fd, void *bytes, size_t n_bytes, int flags, struct sockaddr *address,
    socklen_t *n) IN_PLACE_OF("recvfrom");
/* What recvfrom() may become in a build with _FORTIFY_SOURCE. */
ssize_t guard_recvfrom_checked(int fd, void *bytes, size_t n_bytes, size_t size, int flags,
    struct sockaddr *address, socklen_t *n) IN_PLACE_OF("__recvfrom_chk");

int guard_connect(int fd, const struct sockaddr *address, socklen_t n)
{
    return is_refused(fd, address, n) ? -1 : guard.connect(fd, address, n);
}

ssize_t guard_sendto(int fd, const void *bytes, size_t n_bytes, int flags,
    const struct sockaddr *address, socklen_t n)
{
    return is_refused(fd, address, n) ? -1 : guard.sendto(fd, bytes, n_bytes, flags, address, n);
}

ssize_t guard_sendmsg(int fd, const struct msghdr *message, int flags)
{
    bool no = message && is_refused(fd, message->msg_name, message->msg_namelen);
    return no ? -1 : guard.sendmsg(fd, message, flags);
}

int guard_sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags)
{
    for (unsigned i = 0; i < n; i++) {
        const struct msghdr *message = &messages[i].msg_hdr;
        if (is_refused(fd, message->msg_name, message->msg_namelen)) {
            return -1;
        }
    }
    return guard.sendmmsg(fd, messages, n, flags);
}

ssize_t guard_recvfrom(
    int fd, void *bytes, size_t n_bytes, int flags, struct sockaddr *address, socklen_t *n)
{
    ssize_t received = guard.recvfrom(fd, bytes, n_bytes, flags, address, n);
    if (received >= 0 && address && n) {
        note_sender(fd, address, *n);
    }
    return received;
}

ssize_t guard_recvfrom_checked(int fd, void *bytes, size_t n_bytes, size_t size, int flags,
    struct sockaddr *address, socklen_t *n)
{
    if (n_bytes > size) {
        abort();
    }
    return guard_recvfrom(fd, bytes, n_bytes, flags, address, n);
}

/* ---- the start ---- */

static void prove(int fd)
{
    char path[32];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int own = open(path, O_RDWR | O_CLOEXEC); /* stays open, and with it the lock */
    if (own >= 0) {
        (void)fcntl(own, F_OFD_SETLK, &lock);
    }
}

static void find_function(const char *name, void *ret)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (!function) {
        abort();
    }
    memcpy(ret, &function, sizeof(function));
}

void guard_set_ports(const uint16_t *ports, size_t n)
{
    (void)pthread_mutex_lock(&guard.lock);
    guard.n_ports = n < PORTS_MAX ? n : PORTS_MAX;
    memcpy(guard.ports, ports, guard.n_ports * sizeof(*ports));
    (void)pthread_mutex_unlock(&guard.lock);
}

int guard_is_in_place(void)
{
    int (*ours)(int, const struct sockaddr *, socklen_t) = guard_connect;
    void *found = dlsym(RTLD_DEFAULT, "connect");
    return memcmp(&found, &ours, sizeof(found)) == 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("VMCTL_GUARD");
    char *end = NULL;
    find_function("connect", &guard.connect);
    find_function("sendto", &guard.sendto);
    find_function("sendmsg", &guard.sendmsg);
    find_function("sendmmsg", &guard.sendmmsg);
    find_function("recvfrom", &guard.recvfrom);
    long fd = text ? strtol(text, &end, 10) : -1;
    while (end && *end == ' ' && guard.n_ports < PORTS_MAX) {
        guard.ports[guard.n_ports++] = (uint16_t)strtoul(end + 1, &end, 10);
    }
    if (fd >= 0) {
        prove((int)fd);
    }
}
