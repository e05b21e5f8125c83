/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/leases.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

enum { EXPIRY_DIGITS_MAX = 18 }; /* what surely fits into an int64_t */

/* A piece of the text; not NUL-terminated. */
struct piece {
    const char *start;
    size_t length;
};

/* Cuts off `rest` what comes before the next separator: a line, or a field of it (fields are
 * separated by single spaces). Empty at its end. */
static struct piece next_piece(struct piece *rest, char separator)
{
    const char *end = rest->length > 0 ? memchr(rest->start, separator, rest->length) : NULL;
    struct piece piece = {rest->start, end ? (size_t)(end - rest->start) : rest->length};
    size_t used = piece.length + (end ? 1 : 0);
    rest->start += used;
    rest->length -= used;
    return piece;
}

static bool read_expiry(struct piece field, int64_t *ret_s)
{
    if (field.length == 0 || field.length > EXPIRY_DIGITS_MAX) {
        return false;
    }
    int64_t seconds = 0;
    for (size_t i = 0; i < field.length; i++) {
        if (field.start[i] < '0' || field.start[i] > '9') {
            return false;
        }
        seconds = seconds * 10 + (field.start[i] - '0');
    }
    *ret_s = seconds > 0 ? seconds : INT64_MAX;
    return true;
}

static bool read_address(struct piece field, char *ret_ip)
{
    char text[INET_ADDRSTRLEN] = "";
    struct in_addr address;
    if (field.length >= sizeof(text)) {
        return false;
    }
    memcpy(text, field.start, field.length);
    if (inet_pton(AF_INET, text, &address) != 1) {
        return false;
    }
    /* No guest is ever leased another kind of address, but with one the controller might log in to
     * the host itself. */
    uint32_t bits = ntohl(address.s_addr);
    bool is_guest_address = bits >> 24 != 0 && bits >> 24 != IN_LOOPBACKNET &&
                            !IN_MULTICAST(bits) && !IN_BADCLASS(bits);
    return is_guest_address && inet_ntop(AF_INET, &address, ret_ip, INET_ADDRSTRLEN) != NULL;
}

static bool read_lease(struct piece line, struct piece mac, struct lease *ret)
{
    struct lease lease;
    if (!read_expiry(next_piece(&line, ' '), &lease.expires_s)) {
        return false;
    }
    struct piece holder = next_piece(&line, ' ');
    if (holder.length != mac.length || strncasecmp(holder.start, mac.start, mac.length) != 0 ||
        !read_address(next_piece(&line, ' '), lease.ip)) {
        return false;
    }
    *ret = lease;
    return true;
}

bool leases_find(const char *text, size_t n, const char *mac, int64_t wall_s, struct lease *ret)
{
    struct piece rest = {text, n};
    struct piece wanted = {mac, strlen(mac)};
    bool is_found = false;
    while (rest.length > 0) {
        struct lease lease;
        if (read_lease(next_piece(&rest, '\n'), wanted, &lease) && lease.expires_s > wall_s) {
            *ret = lease;
            is_found = true;
        }
    }
    return is_found;
}
