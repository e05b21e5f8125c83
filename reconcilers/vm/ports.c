/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "controller/reconciler.h"
#include "specs/base/cleanup.h"
#include "reconcilers/network/switch/port.h"
#include "specs/base/digest.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"
#include "specs/vm/lease_key.h"

/* Only a hint that saves a failed try: the bind of QEMU, or ssh, decides. */
bool ports_is_bindable(uint16_t port)
{
    cleanup_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    return fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static bool is_held_by_other(
    struct reconciler_host *host, const char *vm_name, const char *lease_key)
{
    const char *holder = host->lease_holder(host, lease_key);
    return holder && !text_eq(holder, vm_name);
}

bool ports_is_available(struct reconciler_host *host, const char *vm_name, uint16_t port)
{
    cleanup_free char *key = mem_printf("tcp/%u", port);
    return !is_held_by_other(host, vm_name, key);
}

enum { RANGE = PORT_SSH_LAST - PORT_SSH_FIRST + 1, ABOVE = UINT16_MAX - PORT_SSH_LAST };

static void note_held(void *context, const char *key)
{
    bool *is_held = context;
    unsigned long port = 0;
    for (const char *digit = strchr(key, '/') + 1; *digit >= '0' && *digit <= '9'; digit++) {
        port = 10 * port + (unsigned long)(*digit - '0');
    }
    if (port >= PORT_SSH_FIRST && port <= PORT_SSH_LAST) {
        is_held[port - PORT_SSH_FIRST] = true;
    }
}

/*
 * The first free port that is not `taken`; `taken` when there is none. Tried are the range, from
 * `start` around, then the 55,000 ports above it. The thousandth VM does not try a thousand ports,
 * nor each of the range: what is held there is read at once, and the search above begins at the
 * VM's own `place`.
 */
static uint16_t find_port(struct reconciler_host *host, const char *vm_name, uint16_t start,
    uint32_t place, uint16_t taken)
{
    bool is_held[RANGE] = {false};
    cleanup_free char *first = mem_printf("tcp/%u", PORT_SSH_FIRST);
    cleanup_free char *last = mem_printf("tcp/%u", PORT_SSH_LAST);
    host->each_lease_between(host, first, last, note_held, is_held);
    for (uint32_t n = 0; n < RANGE + ABOVE; n++) {
        uint32_t at = (start - PORT_SSH_FIRST + n) % RANGE;
        uint16_t port = n < RANGE ? (uint16_t)(PORT_SSH_FIRST + at)
                                  : (uint16_t)(PORT_SSH_LAST + 1 + (place + n - RANGE) % ABOVE);
        bool is_other = port != taken && !(n < RANGE && is_held[at]);
        if (is_other && ports_is_available(host, vm_name, port) && ports_is_bindable(port)) {
            return port;
        }
    }
    return taken ? taken : start;
}

static uint32_t hash_of(const char *vm_name)
{
    char hex[DIGEST_SIZE];
    digest_text(vm_name, hex);
    hex[8] = '\0';
    return (uint32_t)strtoul(hex, NULL, 16);
}

uint16_t ports_free(struct reconciler_host *host, const char *vm_name, uint16_t start)
{
    uint16_t first = (uint16_t)(PORT_SSH_FIRST + (start + RANGE - PORT_SSH_FIRST % RANGE) % RANGE);
    uint16_t port = find_port(host, vm_name, first, hash_of(vm_name), 0);
    return ports_is_available(host, vm_name, port) && ports_is_bindable(port) ? port : 0;
}

uint16_t ports_first_ssh(struct reconciler_host *host, const char *vm_name)
{
    uint32_t hash = hash_of(vm_name);
    uint16_t start = (uint16_t)(PORT_SSH_FIRST + hash % (PORT_SSH_LAST - PORT_SSH_FIRST + 1));
    return find_port(host, vm_name, start, hash, 0);
}

uint16_t ports_next_ssh(struct reconciler_host *host, const char *vm_name, uint16_t taken)
{
    bool is_in_range = taken >= PORT_SSH_FIRST && taken < PORT_SSH_LAST;
    uint16_t start = is_in_range ? (uint16_t)(taken + 1) : (uint16_t)PORT_SSH_FIRST;
    return find_port(host, vm_name, start, hash_of(vm_name), taken);
}

/* 24 bits of a digest: among 5000 VMs two are likely to collide, so leased addresses are skipped.
 */
char *ports_mac(struct reconciler_host *host, const char *vm_name, const char *uid)
{
    for (unsigned i = 0;; i++) {
        char hex[DIGEST_SIZE];
        cleanup_free char *seed = i == 0 ? mem_strdup(uid) : mem_printf("%s/%u", uid, i);
        digest_text(seed, hex);
        cleanup_free char *mac = mem_printf("52:54:00:%.2s:%.2s:%.2s", hex, hex + 2, hex + 4);
        cleanup_free char *key = mac_lease_key(mac);
        if (!is_held_by_other(host, vm_name, key)) {
            return TAKE_PTR(mac);
        }
    }
}

/* "10.20.30.", of 10.64.0.0 to 10.127.255.0 where it follows from the network's name. */
static char *prefix_of(const struct spec_network *network)
{
    enum { NETWORKS = 1 << 14 };
    uint32_t at = hash_of(network->network) % NETWORKS;
    return network->range ? mem_strndup(network->range,
                                (size_t)(strrchr(network->range, '.') + 1 - network->range))
                          : mem_printf("10.%u.%u.", 64 + at / 256, at % 256);
}

char *ports_address(struct reconciler_host *host, const char *vm_name,
    const struct spec_network *network, const char *before)
{
    enum { HOSTS = SWITCH_LAST - SWITCH_FIRST + 1 };
    uint32_t start = hash_of(vm_name);
    cleanup_free char *prefix = prefix_of(network);
    for (uint32_t i = 0; i <= HOSTS; i++) {
        bool is_first = i == 0;
        if (is_first && (!before || !text_starts_with(before, prefix))) {
            continue;
        }
        cleanup_free char *address =
            is_first ? mem_strdup(before)
                     : mem_printf("%s%u", prefix, SWITCH_FIRST + (start + i - 1) % HOSTS);
        cleanup_free char *key = address_lease_key(network->network, address);
        if (!is_held_by_other(host, vm_name, key)) {
            return TAKE_PTR(address);
        }
    }
    return NULL;
}
