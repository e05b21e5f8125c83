/* SPDX-License-Identifier: MPL-2.0 */
/*
 * The mark gone/N/UID: the VM that node N had in some epoch no longer belongs to N. Another node
 * decided that without being able to ask N.
 *
 *   {"epoch", "to": "c", "at": wall, "token", "vm": {…}}
 *
 * "to" is missing if the VM was destroyed; "vm" is its desired record, so that N can end the VM
 * even after it has lost its own records; "token" is the request's (fleet_ask.h).
 *
 * N then does the following; a repeated step finds itself done. It marks its record of the VM as
 * fenced and deleted; vmctld ends the machine without grace, moves the directory to quarantine/ and
 * forgets the record; once record, directory and machine are gone, N removes the mark.
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

/* The mark of the VM in this node's record; without a record, that of any VM of that name. */
void tombstone_find(const struct member *member, const char *name,
    const struct vm_desired *desired_here, struct tombstone *ret);

/* "gone/a/3ba9…", and its value; free() both. `to` NULL: the VM is destroyed. */
char *tombstone_row(const char *node, const char *uid);
char *tombstone_text(
    const struct member *member, const struct vm_desired *vm, const char *to, const char *token);

/* Whether the request with that token has put a mark for a VM of that name. */
bool tombstone_is_of(const struct member *member, const char *name, const char *token);

/* Writes a record by which vmctld ends the VM. */
int tombstone_fence(const struct member *member, const struct vm_record *record,
    const struct tombstone *tombstone, struct error *err);
