/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/backend/qemu/agent_address.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <string.h>
#include <strings.h>

static bool is_for_hosts_4(const struct in_addr *address)
{
    uint32_t ip = ntohl(address->s_addr);
    bool is_link_local = ip >> 16 == 0xa9fe;
    return ip >> 24 != 0 && ip >> 24 != IN_LOOPBACKNET && !is_link_local && ip >> 28 < 0xe;
}

static bool is_for_hosts_6(const struct in6_addr *address)
{
    return !IN6_IS_ADDR_UNSPECIFIED(address) && !IN6_IS_ADDR_LOOPBACK(address) &&
           !IN6_IS_ADDR_LINKLOCAL(address) && !IN6_IS_ADDR_MULTICAST(address) &&
           !IN6_IS_ADDR_V4MAPPED(address) && !IN6_IS_ADDR_V4COMPAT(address);
}

static bool is_this_host(int family, const void *address)
{
    struct ifaddrs *all = NULL;
    bool is_own = getifaddrs(&all) < 0; /* not known: not trusted */
    for (const struct ifaddrs *one = all; one && !is_own; one = one->ifa_next) {
        if (!one->ifa_addr || one->ifa_addr->sa_family != family) {
            continue;
        }
        const void *own =
            family == AF_INET
                ? (const void *)&((const struct sockaddr_in *)(const void *)one->ifa_addr)->sin_addr
                : (const void *)&((const struct sockaddr_in6 *)(const void *)one->ifa_addr)
                      ->sin6_addr;
        is_own = memcmp(own, address,
                     family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr)) == 0;
    }
    if (all) {
        freeifaddrs(all);
    }
    return is_own;
}

static bool take_address(const char *text, int family, char ret[INET6_ADDRSTRLEN])
{
    union {
        struct in_addr v4;
        struct in6_addr v6;
    } address;
    if (!text || inet_pton(family, text, &address) != 1) {
        return false;
    }
    bool is_fit = family == AF_INET ? is_for_hosts_4(&address.v4) : is_for_hosts_6(&address.v6);
    return is_fit && !is_this_host(family, &address) &&
           inet_ntop(family, &address, ret, INET6_ADDRSTRLEN);
}

bool agent_find_address(const json_t *interfaces, const char *mac, char ret[INET6_ADDRSTRLEN])
{
    static const int families[] = {AF_INET, AF_INET6};
    enum { LOOKED_AT_MAX = 64 }; /* of each: a guest can report any number */
    for (size_t f = 0; f < 2; f++) {
        for (size_t i = 0; i < json_array_size(interfaces) && i < LOOKED_AT_MAX; i++) {
            const json_t *interface = json_array_get(interfaces, i);
            const char *own = json_text(interface, "hardware-address");
            const json_t *addresses = json_object_get(interface, "ip-addresses");
            bool is_it = own && strcasecmp(own, mac) == 0;
            for (size_t n = 0; is_it && n < json_array_size(addresses) && n < LOOKED_AT_MAX; n++) {
                const json_t *address = json_array_get(addresses, n);
                if (take_address(json_text(address, "ip-address"), families[f], ret)) {
                    return true;
                }
            }
        }
    }
    return false;
}
