/* SPDX-License-Identifier: MPL-2.0 */
/* The names of a project network (RFC 1035): answers for its own, and what others' were answered
 * with. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DNS_PORT = 53, DNS_NAME_SIZE = 256, DNS_ANSWER_MAX = 512 };

enum dns_finding {
    DNS_FOREIGN, /* a name of the world */
    DNS_FOUND,
    DNS_MISSING, /* of this network, which has no such name */
};

/* Resolves a name, which is lower-case and has no dot at its end. */
typedef enum dns_finding dns_lookup_fn(void *context, const char *name, uint32_t *ret_address);

/* Writes the answer to a query of a name of this network. Its length; 0: it is a name of the world,
 * or not a query that can be read. `out` holds DNS_ANSWER_MAX bytes. */
size_t dns_answer(
    const uint8_t *query, size_t n, dns_lookup_fn *lookup, void *context, uint8_t *out);

/* Calls `each` with the queried name and every IPv4 address of a response. */
typedef void dns_address_fn(void *context, const char *name, uint32_t address);
void dns_read_answer(const uint8_t *answer, size_t n, dns_address_fn *each, void *context);
