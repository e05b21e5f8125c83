/* SPDX-License-Identifier: MPL-2.0 */
#include "store/lmdb/checksum.h"

#include <string.h>

/* No record ends like this by itself: texts and JSON contain no NUL. */
static const unsigned char mark[] = {0, 's', 'u', 'm'};
enum { MARK_BYTES = sizeof(mark), WORD_BYTES = 8 };
_Static_assert(CHECKSUM_BYTES == MARK_BYTES + sizeof(uint64_t), "the mark and the sum");

/*
 * Each step is a bijection of the state for a given word and of the word for a given state, so that
 * a change of any one word always changes the result. The multiplier is that of xorshift64* (Vigna
 * 2016). `list` reads all records: this takes a few cycles for 8 bytes.
 */
static uint64_t mix(uint64_t state, uint64_t word)
{
    state = (state ^ word) * UINT64_C(0x2545f4914f6cdd1d);
    return state ^ state >> 32;
}

/* The length first: bytes appended to one part and taken from the next are no longer the same. */
static uint64_t add(uint64_t state, struct bytes bytes)
{
    uint64_t word;
    size_t at = 0;
    state = mix(state, bytes.n);
    for (; at + WORD_BYTES <= bytes.n; at += WORD_BYTES) {
        memcpy(&word, bytes.data + at, WORD_BYTES);
        state = mix(state, word);
    }
    word = 0;
    if (at < bytes.n) {
        memcpy(&word, bytes.data + at, bytes.n - at);
    }
    return mix(state, word);
}

uint64_t checksum_of(enum store_table table, struct bytes key, struct bytes value)
{
    return add(add(mix(0, (uint64_t)table + 1), key), value);
}

void checksum_write(
    enum store_table table, struct bytes key, struct bytes value, unsigned char *out)
{
    uint64_t sum = checksum_of(table, key, value);
    memcpy(out, mark, MARK_BYTES);
    memcpy(out + MARK_BYTES, &sum, sizeof(sum));
}

/* Where the mark and the sum begin; NULL: there are none. */
static const char *find_mark(struct bytes stored)
{
    size_t n = stored.n < CHECKSUM_BYTES ? 0 : stored.n - CHECKSUM_BYTES;
    bool has_mark = stored.n >= CHECKSUM_BYTES && memcmp(stored.data + n, mark, MARK_BYTES) == 0;
    return has_mark ? stored.data + n : NULL;
}

bool checksum_is(struct bytes stored, uint64_t sum)
{
    const char *at = find_mark(stored);
    return at && memcmp(at + MARK_BYTES, &sum, sizeof(sum)) == 0;
}

struct bytes checksum_take_summed(
    enum store_table table, struct bytes key, struct bytes stored, uint64_t *ret_sum)
{
    struct bytes value = stored;
    bool has_sum = find_mark(stored) != NULL;
    value.n -= has_sum ? CHECKSUM_BYTES : 0;
    *ret_sum = checksum_of(table, key, value);
    if (has_sum && !checksum_is(stored, *ret_sum)) {
        value = (struct bytes){"", 0};
        *ret_sum = checksum_of(table, key, value);
    }
    return value;
}

struct bytes checksum_take(enum store_table table, struct bytes key, struct bytes stored)
{
    uint64_t ignored;
    return checksum_take_summed(table, key, stored, &ignored);
}
