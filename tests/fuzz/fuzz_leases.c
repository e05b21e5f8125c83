/* SPDX-License-Identifier: MPL-2.0 */
/* libFuzzer target: any bytes are leases or none; what is found is an IPv4 address that holds; and
 * a lease put in front of them counts only when there is none. */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reconcilers/network/leases.h"
#include "specs/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAC "52:54:00:12:34:56"
#define FIRST "1700009999 " MAC " 10.99.99.99 first *\n"

enum { NOW_S = 1700000000 };

static void check(const struct lease *lease)
{
    struct in_addr address;
    if (inet_pton(AF_INET, lease->ip, &address) != 1 || lease->expires_s <= NOW_S) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* of its own size on the heap, so that the sanitizer sees a byte read beyond the end */
    size_t first = strlen(FIRST);
    char *text = mem_calloc(first + size, 1);
    memcpy(text, FIRST, first);
    if (size > 0) {
        memcpy(text + first, data, size);
    }
    struct lease lease;
    struct lease again;
    bool is_found = leases_find(text + first, size, MAC, NOW_S, &lease);
    if (is_found) {
        check(&lease);
    }
    if (!leases_find(text, first + size, MAC, NOW_S, &again) ||
        strcmp(again.ip, is_found ? lease.ip : "10.99.99.99") != 0) {
        abort();
    }
    free(text);
    return 0;
}
