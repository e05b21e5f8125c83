/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Removes damaged records; leaves other records and all disks untouched.
 *
 *   desired                          made again from the VM's status: the spec it last ran with,
 * its uid, its power. It belongs to no VMFile then: `up --adopt` desired of one that never ran
 * left: without its record its files would be nobody's status                           left: it
 * alone knows that the disk is in use leases, events, images, sources  removed: made again when
 * they are needed, or asked for again
 *
 * An index that does not agree with the records is made again.
 *
 * A record that is replaced or removed is first copied to quarantine/record-TABLE-DIGEST. Killed
 * anywhere, or done twice: a record is the old one or the new one, and its file is the same.
 */
#pragma once

#include "specs/base/strings.h"

struct error;
struct store;

struct repair {
    struct strings done; /* "web (desired): made again from its status" */
    struct strings left; /* "web (status)" */
};
void repair_clear(struct repair *repair);

/* All tables in one transaction. Rings the desired bell. */
int store_repair(struct store *store, struct repair *ret, struct error *err);
