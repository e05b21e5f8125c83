/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/vm/ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "controller/reconciler.h"
#include "specs/base/cleanup.h"
#include "specs/base/digest.h"
#include "specs/base/mem.h"
#include "specs/base/text.h"

/* Whether another program listens there now. Only a hint that saves a failed try: what decides is
 * QEMU's own bind when the machine boots. */
static bool is_bindable(uint16_t port)
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

/* In the order in which they are tried: around the range from `start`, then up from its end. The
 * 55 000 above it are begun at a place of the VM's own too, so that the thousandth VM need not try
 * a thousand. */
static uint16_t nth_port(uint16_t start, uint32_t place, uint32_t n)
{
    enum { RANGE = PORT_SSH_LAST - PORT_SSH_FIRST + 1, ABOVE = UINT16_MAX - PORT_SSH_LAST };
    if (n < RANGE) {
        return (uint16_t)(PORT_SSH_FIRST + (start - PORT_SSH_FIRST + n) % RANGE);
    }
    return (uint16_t)(PORT_SSH_LAST + 1 + (place + n - RANGE) % ABOVE);
}

/* The first free port from `start` on that is not `taken`; `taken` when there is none. */
static uint16_t search(struct reconciler_host *host, const char *vm_name, uint16_t start,
    uint32_t place, uint16_t taken)
{
    enum { ALL = UINT16_MAX - PORT_SSH_FIRST + 1 };
    for (uint32_t n = 0; n < ALL; n++) {
        uint16_t port = nth_port(start, place, n);
        if (port != taken && ports_is_available(host, vm_name, port) && is_bindable(port)) {
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

uint16_t ports_first_ssh(struct reconciler_host *host, const char *vm_name)
{
    uint32_t hash = hash_of(vm_name);
    uint16_t start = (uint16_t)(PORT_SSH_FIRST + hash % (PORT_SSH_LAST - PORT_SSH_FIRST + 1));
    return search(host, vm_name, start, hash, 0);
}

uint16_t ports_next_ssh(struct reconciler_host *host, const char *vm_name, uint16_t taken)
{
    bool is_in_range = taken >= PORT_SSH_FIRST && taken < PORT_SSH_LAST;
    uint16_t start = is_in_range ? (uint16_t)(taken + 1) : (uint16_t)PORT_SSH_FIRST;
    return search(host, vm_name, start, hash_of(vm_name), taken);
}

/* 24 bits of a digest: among 5000 VMs two alike are likely, so others' are avoided. */
char *ports_mac(struct reconciler_host *host, const char *vm_name, const char *uid)
{
    for (unsigned i = 0;; i++) {
        char hex[DIGEST_SIZE];
        cleanup_free char *seed = i == 0 ? mem_strdup(uid) : mem_printf("%s/%u", uid, i);
        digest_text(seed, hex);
        cleanup_free char *mac = mem_printf("52:54:00:%.2s:%.2s:%.2s", hex, hex + 2, hex + 4);
        cleanup_free char *key = mem_printf("mac/%s", mac);
        if (!is_held_by_other(host, vm_name, key)) {
            return TAKE_PTR(mac);
        }
    }
}
