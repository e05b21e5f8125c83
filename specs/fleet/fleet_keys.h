/* SPDX-License-Identifier: MPL-2.0 */
/*
 * Names of what a fleet shares. In etcd they begin with FLEET_ROOT and the fleet's name; the table
 * STORE_FLEET of each host has a copy of the rows under the rest of the key:
 *
 *   fleet            {v, uid, name}
 *   node/N           how node N is reached and what it has (fleet_node.h); written by N
 *   alive/N          {session, bootId, since}; on N's lease, so that it goes with N
 *   reg/N            {session}; without a lease: it changes with each life of N's messenger
 *   hold/N           {vcpus, memMib, vms}: what is promised to N's VMs of the fleet
 *   name/V           {node, uid, epoch}: who has the VM of that name
 *   vm/N/V           what V, which is N's, shall be: struct vm_desired
 *   st/N/V           how V is: what N publishes of its VMs, also of those that are N's alone
 *   in/N/V           N is to fetch V's disk: {from, uid, epoch, token, leavesSnapshots, offered,
 *                    percent, error}; V belongs to its present node until N has all of it
 *   gone/N/UID       the mark that a VM which N had is not N's any more (tombstone.h): N ends it,
 *                    sets its files aside, and removes the mark
 *
 * and rows of its own, which no other host sees:
 *
 *   link             how the messenger finds the fleet (fleet_link.h)
 *   lost/N           since when N's alive/N is missing, wall
 *   ask/ID           a request, and its answer (fleet_ask.h)
 *   fetched/V        how far in/N/V of this node is: {token, percent, error, needs, isDone,
 *                    origin}; needs: the bytes for which there was no room
 *
 * The copies of vm/ and st/ have a summary besides (fleet_summary.h).
 *
 * V is flat (specs/base/vm_name.h): no part of a key has a '/'. Pure.
 */
#pragma once

#include <stdbool.h>

#define FLEET_ROOT "/vmctl/1/"

enum { FLEET_FORMAT = 1 }; /* of `fleet`: a messenger touches nothing of a newer one */

enum fleet_kind {
    FLEET_KIND_FLEET,
    FLEET_KIND_NODE,
    FLEET_KIND_ALIVE,
    FLEET_KIND_REG,
    FLEET_KIND_HOLD,
    FLEET_KIND_NAME,
    FLEET_KIND_VM,
    FLEET_KIND_STATUS,
    FLEET_KIND_IN,
    FLEET_KIND_GONE,
    FLEET_KIND_LINK,
    FLEET_KIND_LOST,
    FLEET_KIND_ASK,
    FLEET_KIND_FETCHED,
    FLEET_KIND_COUNT_,
    FLEET_KIND_OTHER = FLEET_KIND_COUNT_, /* of a later version: left alone */
};

struct fleet_key {
    enum fleet_kind kind;
    char *first;  /* the node, the VM of `name/`, the request's id; NULL: none */
    char *second; /* the VM of `vm/` and `st/`, with its project: "shop/web"; the uid of
                   * `gone/`; NULL: none */
};

/* "vm/b/shop+web"; `second` is the VM's name as the store has it, as is `first` of
 * FLEET_KIND_NAME. free() it. */
char *fleet_row(enum fleet_kind kind, const char *first, const char *second);

/* Of a row's key; fleet_key_clear() it. */
struct fleet_key fleet_row_parse(const char *row);
void fleet_key_clear(struct fleet_key *key);

/* "/vmctl/1/home/"; free() it. */
char *fleet_prefix(const char *fleet);

/* "/vmctl/1/home+file/web/SHA256": the bytes of a file of the VM (fleet_files.h), which no node
 * mirrors; of an empty digest all of them begin so. free() it. */
char *fleet_file_key(const char *fleet, const char *vm, const char *digest);

/* Of a fleet's name: as that of a project. */
bool fleet_name_is_valid(const char *name);
