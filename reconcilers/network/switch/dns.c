/* SPDX-License-Identifier: MPL-2.0 */
#include "reconcilers/network/switch/dns.h"

#include <string.h>

#include "reconcilers/network/switch/packet.h"

enum { HEADER = 12, FLAG_RESPONSE = 0x8000, FLAG_AUTHORITATIVE = 0x0400, FLAG_RECURSION = 0x0100 };
enum { FLAG_RECURSION_OFFERED = 0x0080, OPCODE = 0x7800, NAME_ERROR = 3 };
enum { TYPE_A = 1, TYPE_ANY = 255, CLASS_IN = 1 };

/* The only question's name, lower-case; returns where its type begins, 0: malformed. */
static size_t read_question(const uint8_t *message, size_t n, char *ret_name)
{
    enum { LABEL_MAX = 63 };
    size_t at = HEADER, length = 0;
    if (n < HEADER || get_u16(message + 4) != 1) {
        return 0;
    }
    for (;;) {
        if (at >= n || message[at] > LABEL_MAX || message[at] >= n - at) {
            return 0; /* cut off, or compressed, which a first name cannot be */
        }
        size_t label = message[at++];
        if (label == 0) {
            break;
        }
        if (length + label + 2 > DNS_NAME_SIZE) {
            return 0;
        }
        for (size_t i = 0; i < label; i++) {
            char c = (char)message[at + i];
            bool is_plain = c > ' ' && c < 0x7f && c != '.';
            ret_name[length++] = !is_plain ? '?' : c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        }
        ret_name[length++] = '.';
        at += label;
    }
    ret_name[length ? length - 1 : 0] = '\0';
    return n - at >= 4 ? at : 0;
}

size_t dns_answer(
    const uint8_t *query, size_t n, dns_lookup_fn *lookup, void *context, uint8_t *out)
{
    enum { TTL_S = 5, RECORD = 16 };
    char name[DNS_NAME_SIZE];
    uint32_t address = 0;
    size_t type_at = read_question(query, n, name);
    if (type_at == 0 || get_u16(query + 2) & (FLAG_RESPONSE | OPCODE) ||
        get_u16(query + type_at + 2) != CLASS_IN) {
        return 0;
    }
    enum dns_finding finding = lookup(context, name, &address);
    size_t length = type_at + 4;
    if (finding == DNS_FOREIGN || length + RECORD > DNS_ANSWER_MAX) {
        return 0;
    }
    uint16_t type = get_u16(query + type_at);
    bool has_address = finding == DNS_FOUND && (type == TYPE_A || type == TYPE_ANY);
    memcpy(out, query, length);
    put_u16(out + 2, (uint16_t)(FLAG_RESPONSE | FLAG_AUTHORITATIVE | FLAG_RECURSION_OFFERED |
                                (get_u16(query + 2) & FLAG_RECURSION) |
                                (finding == DNS_MISSING ? NAME_ERROR : 0)));
    put_u16(out + 6, has_address);
    put_u32(out + 8, 0); /* neither authorities nor additions: an answer without EDNS is valid */
    if (has_address) {
        uint8_t *record = out + length;
        put_u16(record, 0xc000 | HEADER); /* the question's name */
        put_u16(record + 2, TYPE_A);
        put_u16(record + 4, CLASS_IN);
        put_u32(record + 6, TTL_S);
        put_u16(record + 10, 4);
        put_u32(record + 12, address);
        length += RECORD;
    }
    return length;
}

/* Behind a name that may be compressed; 0: cut off. */
static size_t skip_name(const uint8_t *message, size_t n, size_t at)
{
    while (at < n) {
        uint8_t length = message[at];
        if (length >= 0xc0) {
            return n - at >= 2 ? at + 2 : 0;
        }
        if (length == 0) {
            return at + 1;
        }
        at += 1 + (size_t)length;
    }
    return 0;
}

void dns_read_answer(const uint8_t *answer, size_t n, dns_address_fn *each, void *context)
{
    enum { FIXED = 10 };
    char name[DNS_NAME_SIZE];
    size_t at = read_question(answer, n, name);
    if (at == 0 || !(get_u16(answer + 2) & FLAG_RESPONSE)) {
        return;
    }
    at += 4;
    for (unsigned left = get_u16(answer + 6); left > 0; left--) {
        at = skip_name(answer, n, at);
        if (at == 0 || n - at < FIXED || n - at - FIXED < get_u16(answer + at + 8)) {
            return;
        }
        size_t length = get_u16(answer + at + 8);
        if (get_u16(answer + at) == TYPE_A && get_u16(answer + at + 2) == CLASS_IN && length == 4) {
            each(context, name, get_u32(answer + at + FIXED));
        }
        at += FIXED + length;
    }
}
