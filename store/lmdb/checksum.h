/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The checksum behind every record, over its table, key and value: it finds damage that still has
 * the form of pages, such as a flipped bit or a sector of another file. It protects against
 * accidents, not against somebody who writes to the store. Stores of schema 1 have records without
 * one, and keep them until they are next written: those are read as they are. Private to store/.
 *
 *   value \0 's' 'u' 'm' 8 bytes of checksum, in the byte order of the machine (as all of LMDB is)
 */
#pragma once

#include <stdbool.h>

#include "store/record.h"
#include "store/store.h"

enum { CHECKSUM_BYTES = 12 };

/* Writes CHECKSUM_BYTES at `out`. */
void checksum_write(
    enum store_table table, struct bytes key, struct bytes value, unsigned char *out);

uint64_t checksum_of(enum store_table table, struct bytes key, struct bytes value);

/* Whether `stored` ends with that checksum; whether it is the right one is not looked at. */
bool checksum_is(struct bytes stored, uint64_t sum);

/* Takes the checksum off `stored`. When it is wrong, the result is empty, which no decoder accepts.
 */
struct bytes checksum_take(enum store_table table, struct bytes key, struct bytes stored);
/* *ret_sum: checksum_of() the result. */
struct bytes checksum_take_summed(
    enum store_table table, struct bytes key, struct bytes stored, uint64_t *ret_sum);
