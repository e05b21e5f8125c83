/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The mark gone/N/UID: the VM that node N had in some epoch is not N's any more, by the word of
 * somebody who could not ask N.
 *
 *   {"epoch", "to": "c", "at": wall, "token", "vm": {…}}
 *
 * "to" is missing if it was destroyed; "vm" is what it was to be, by which its node can end it also
 * when it has lost its records; "token" is the request's (fleet_ask.h).
 *
 * What N does, each step being found done when it is done again: its record of the VM says that it
 * is fenced and deleted; vmctld ends the machine with no grace, moves the directory to quarantine/
 * and forgets the record; without a record, a directory and a machine the mark goes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "specs/base/text.h"

struct error;
struct member;
struct vm_desired;
struct vm_record;

struct tombstone {
    char *row; /* NULL: there is none */
    uint64_t epoch;
    char *to;              /* NULL: it was destroyed */
    struct vm_desired *vm; /* NULL: the mark cannot be read */
};
void tombstone_clear(struct tombstone *tombstone);

/* That of the VM of this node's record of that name; without a record, one of any VM of the name.
 */
void tombstone_find(const struct member *member, const char *name,
    const struct vm_desired *desired_here, struct tombstone *ret);

/* "gone/a/3ba9…", and its value; free() both. `to` NULL: it is destroyed. */
char *tombstone_row(const char *node, const char *uid);
char *tombstone_text(
    const struct member *member, const struct vm_desired *vm, const char *to, const char *token);

/* Whether such a request has put one of that VM's name. */
bool tombstone_is_of(const struct member *member, const char *name, const char *token);

/* Has vmctld end the VM: a record here says so. */
int tombstone_fence(const struct member *member, const struct vm_record *record,
    const struct tombstone *tombstone, struct error *err);
